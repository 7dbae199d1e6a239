// GPTQ checkpoints and LoRA adapters as their tools lay them out, written from the public description of the formats
// (engine/inference/gptq_checkpoint.h, peft_adapter.h) and from nothing of what reads them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "engine/inference/graph/float16.h"
#include "tests/engine/inference/random_bert.h"

namespace foreshore {

struct FileTensor {
  std::string name;
  std::string dtype;
  std::vector<std::uint64_t> shape;
  ByteString bytes;
};

// A safetensors file: length, header, bytes in this order.
inline ByteString SafetensorsBytes(const std::vector<FileTensor>& tensors) {
  std::string header = "{";
  std::uint64_t offset = 0;
  for (const FileTensor& tensor : tensors) {
    if (header.size() > 1) header += ",";
    header += "\"" + tensor.name + "\":{\"dtype\":\"" + tensor.dtype + "\",\"shape\":[";
    for (std::size_t i = 0; i < tensor.shape.size(); ++i) header += (i ? "," : "") + std::to_string(tensor.shape[i]);
    header +=
        "],\"data_offsets\":[" + std::to_string(offset) + "," + std::to_string(offset + tensor.bytes.size()) + "]}";
    offset += tensor.bytes.size();
  }
  header += "}";
  const std::uint64_t length = header.size();
  ByteString file(reinterpret_cast<const char*>(&length), sizeof(length));
  file += header;
  for (const FileTensor& tensor : tensors) file += tensor.bytes;
  return file;
}

inline ByteString WordsOf(const std::vector<std::uint32_t>& words) {
  return {reinterpret_cast<const char*>(words.data()), words.size() * 4};
}
inline ByteString HalvesOf(const std::vector<float>& values) {
  std::vector<std::uint16_t> halves;
  for (const float value : values) halves.push_back(graph::FloatToHalf(value));
  return {reinterpret_cast<const char*>(halves.data()), halves.size() * 2};
}

// "layer.1.up" to "encoder.layer.1.intermediate.dense".
inline std::string TheirModule(const std::string& ours) {
  static const std::map<std::string, std::string> kModules = {
      {"query", "attention.self.query"},    {"key", "attention.self.key"}, {"value", "attention.self.value"},
      {"output", "attention.output.dense"}, {"up", "intermediate.dense"},  {"down", "output.dense"}};
  const std::size_t dot = ours.rfind('.');
  return "encoder." + ours.substr(0, dot + 1) + kModules.at(ours.substr(dot + 1));
}

// Their name for one of our f32 tensors.
inline std::string TheirName(const std::string& ours) {
  static const std::map<std::string, std::string> kEmbeddings = {
      {"embeddings.word", "embeddings.word_embeddings.weight"},
      {"embeddings.position", "embeddings.position_embeddings.weight"},
      {"embeddings.type", "embeddings.token_type_embeddings.weight"},
      {"embeddings.norm.gamma", "embeddings.LayerNorm.weight"},
      {"embeddings.norm.beta", "embeddings.LayerNorm.bias"}};
  if (const auto found = kEmbeddings.find(ours); found != kEmbeddings.end()) return found->second;
  const std::size_t dot = ours.find('.', 6);  // After "layer.N".
  const std::string layer = "encoder." + ours.substr(0, dot + 1);
  const std::string rest = ours.substr(dot + 1);
  if (rest.starts_with("attention.norm.")) {
    return layer + "attention.output.LayerNorm." + (rest.ends_with("gamma") ? "weight" : "bias");
  }
  if (rest.starts_with("norm.")) return layer + "output.LayerNorm." + (rest.ends_with("gamma") ? "weight" : "bias");
  const std::size_t last = ours.rfind('.');
  return TheirModule(ours.substr(0, last)) + ours.substr(last);
}

struct GptqWriter {
  std::size_t group_size = 32;
  bool is_v2 = false;
  bool is_symmetric = false;
  bool act_order = false;  // Inputs of a group lie apart.
  bool with_g_idx = true;

  // Fills `dequantized` with the model that the file stands for, in f32.
  std::vector<FileTensor> Write(const BertModel& f32, BertModel& dequantized) const {
    std::vector<FileTensor> file;
    dequantized = f32;
    for (std::size_t t = 0; t < f32.tensors.size(); ++t) {
      const Tensor& tensor = f32.tensors[t];
      std::vector<float> values = FloatsOf(tensor.view());
      if (!tensor.name.ends_with(".weight")) {
        for (float& value : values) value = HalfToFloat(graph::FloatToHalf(value));
        dequantized.tensors[t] = F32Tensor(tensor.name, tensor.shape, values);
        file.push_back({"bert." + TheirName(tensor.name), "F16", tensor.shape, HalvesOf(values)});
        continue;
      }
      const std::size_t out = tensor.shape[0];
      const std::size_t in = tensor.shape[1];
      const std::size_t group_count = (in + group_size - 1) / group_size;
      std::vector<std::uint32_t> g_idx(in);
      for (std::size_t k = 0; k < in; ++k) {
        g_idx[k] = static_cast<std::uint32_t>((act_order ? (k * 5 + 1) % in : k) / group_size);
      }
      std::vector<std::uint32_t> qweight(in / 8 * out);
      std::vector<std::uint32_t> qzeros(group_count * out / 8);
      std::vector<float> scales(group_count * out);
      for (std::size_t n = 0; n < out; ++n) {
        for (std::size_t group = 0; group < group_count; ++group) {
          float low = 0;
          float high = 0;
          for (std::size_t k = 0; k < in; ++k) {
            if (g_idx[k] != group) continue;
            low = std::min(low, values[n * in + k]);
            high = std::max(high, values[n * in + k]);
          }
          if (is_symmetric) {
            high = std::max(high, -low);
            low = -high;
          }
          const float scale = HalfToFloat(graph::FloatToHalf((high - low) / 15.0F));
          // v1 cannot say 0: writers keep zero points above it.
          const int zero =
              is_symmetric ? 8 : std::clamp(static_cast<int>(std::lround(-low / scale)), is_v2 ? 0 : 1, 15);
          scales[group * out + n] = scale;
          const auto stored = static_cast<std::uint32_t>(is_v2 ? zero : zero - 1);
          qzeros[group * (out / 8) + n / 8] |= stored << (4 * (n % 8));
          for (std::size_t k = 0; k < in; ++k) {
            if (g_idx[k] != group) continue;
            const int code = std::clamp(static_cast<int>(std::lround(values[n * in + k] / scale)) + zero, 0, 15);
            qweight[k / 8 * out + n] |= static_cast<std::uint32_t>(code) << (4 * (k % 8));
            values[n * in + k] = scale * static_cast<float>(code - zero);
          }
        }
      }
      dequantized.tensors[t] = F32Tensor(tensor.name, tensor.shape, values);
      const std::string module = "bert." + TheirModule(tensor.name.substr(0, tensor.name.size() - 7));
      file.push_back({module + ".qweight", "I32", {in / 8, out}, WordsOf(qweight)});
      file.push_back({module + ".qzeros", "I32", {group_count, out / 8}, WordsOf(qzeros)});
      file.push_back({module + ".scales", "F16", {group_count, out}, HalvesOf(scales)});
      if (with_g_idx) file.push_back({module + ".g_idx", "I32", {in}, WordsOf(g_idx)});
    }
    return file;
  }
};

struct LoraWriter {
  std::size_t rank = 4;
  float alpha = 8;
  bool is_rank_stabilised = false;
  std::vector<std::string> modules = {"query", "value"};  // Ours.
  std::uint32_t seed = 1;

  float scale() const {
    return is_rank_stabilised ? alpha / std::sqrt(static_cast<float>(rank)) : alpha / static_cast<float>(rank);
  }

  // The adapter's tensors; `merged`, a model in f32, gains scale · B · A.
  std::vector<FileTensor> Write(BertModel& merged) const {
    std::mt19937 random(seed);
    std::vector<FileTensor> file;
    for (Tensor& tensor : merged.tensors) {
      bool is_target = false;
      for (const std::string& module : modules) is_target |= tensor.name.ends_with("." + module + ".weight");
      if (!is_target) continue;
      const std::size_t out = tensor.shape[0];
      const std::size_t in = tensor.shape[1];
      std::normal_distribution<float> normal(0.0F, 0.3F / std::sqrt(static_cast<float>(in)));
      std::vector<float> a(rank * in);
      std::vector<float> b(out * rank);
      for (float& value : a) value = normal(random);
      for (float& value : b) value = 3.0F * normal(random) * std::sqrt(static_cast<float>(in));
      std::vector<float> values = FloatsOf(tensor.view());
      for (std::size_t n = 0; n < out; ++n) {
        for (std::size_t k = 0; k < in; ++k) {
          double sum = 0;
          for (std::size_t r = 0; r < rank; ++r) sum += static_cast<double>(b[n * rank + r]) * a[r * in + k];
          values[n * in + k] += static_cast<float>(scale() * sum);
        }
      }
      tensor = F32Tensor(tensor.name, tensor.shape, values);
      const std::string module = "base_model.model." + TheirModule(tensor.name.substr(0, tensor.name.size() - 7));
      const auto bytes_of = [](const std::vector<float>& floats) {
        return ByteString(reinterpret_cast<const char*>(floats.data()), floats.size() * 4);
      };
      file.push_back({module + ".lora_A.weight", "F32", {rank, in}, bytes_of(a)});
      file.push_back({module + ".lora_B.weight", "F32", {out, rank}, bytes_of(b)});
    }
    return file;
  }

  std::string Config(const std::string& more = "") const {
    std::string targets;
    static const std::map<std::string, std::string> kTargets = {
        {"query", "query"},           {"key", "key"},          {"value", "value"}, {"output", "attention.output.dense"},
        {"up", "intermediate.dense"}, {"down", "output.dense"}};
    for (const std::string& module : modules) targets += (targets.empty() ? "\"" : ",\"") + kTargets.at(module) + "\"";
    return "{\"peft_type\":\"LORA\",\"task_type\":\"FEATURE_EXTRACTION\",\"r\":" + std::to_string(rank) +
           ",\"lora_alpha\":" + std::to_string(static_cast<int>(alpha)) + ",\"lora_dropout\":0.1,\"bias\":\"none\"" +
           ",\"fan_in_fan_out\":false,\"modules_to_save\":null,\"use_rslora\":" +
           (is_rank_stabilised ? "true" : "false") + ",\"use_dora\":false,\"target_modules\":[" + targets + "]" + more +
           "}";
  }
};

}  // namespace foreshore
