#!/usr/bin/env python3
"""Writes torch/: a BERT of random weights (base), LoRA adapters of it as PEFT saves them (lora_*), GPTQ checkpoints of
another as GPTQModel saves them (gptq_*), and in reference.json the embeddings that PyTorch gives with each.

    make_torch_models.py        with torch==2.9.1 transformers==4.57.3 peft==0.18.0 gptqmodel==5.6.12 optimum==1.27.0

Embeddings are means over a sequence's tokens, of length 1. GPTQModel knows no BERT: it is told the names of its layers.
Quantizing, packing, saving and running are its own.
"""
import json
import os
import pathlib
import shutil
import tempfile

os.environ.update(HF_HUB_OFFLINE="1", TORCHDYNAMO_DISABLE="1")  # The latter: run as written, nothing compiled.
import torch  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent / "torch"
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + [chr(ord("a") + i) for i in range(19)]


def sequences(count, seed, longest=14):
    random = torch.Generator().manual_seed(seed)
    lengths = torch.randint(3, longest, (count,), generator=random).tolist()
    return [[2] + torch.randint(5, len(VOCABULARY), (length - 2,), generator=random).tolist() + [3]
            for length in lengths]


JUDGES = sequences(6, 1)


def note(name, model):
    """The model's embeddings of JUDGES, in reference.json."""
    path = HERE / "reference.json"
    reference = json.loads(path.read_text()) if path.exists() else {"embeddings": {}}
    reference["sequences"] = JUDGES
    rows = []
    with torch.no_grad():
        for ids in JUDGES:
            hidden = model(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long))[0]
            mean = hidden[0].float().mean(0)
            rows.append([round(value, 8) for value in (mean / mean.norm()).tolist()])
    reference["embeddings"][name] = rows
    path.write_text(json.dumps(reference, separators=(",", ":")).replace("]],", "]],\n") + "\n")


def save_tokenizer(folder):
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true, "model_max_length": 16}\n')


def load_base(folder):
    from transformers import BertModel
    model = BertModel.from_pretrained(folder, dtype=torch.float32).eval()
    model.name_or_path = model.config._name_or_path = "tiny-bert"
    return model


def make_base(folder, hidden, layers):
    from transformers import BertConfig, BertModel
    torch.manual_seed(1)
    config = BertConfig(vocab_size=len(VOCABULARY), hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=4,
                        intermediate_size=64, max_position_embeddings=16, initializer_range=0.25)
    model = BertModel(config).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, 0, 0.05)
    model.half().save_pretrained(folder)
    save_tokenizer(folder)


def make_lora():
    from peft import LoraConfig, get_peft_model
    make_base(HERE / "base", hidden=32, layers=2)
    note("base", load_base(HERE / "base"))
    more = {"lora_alpha": 8, "init_lora_weights": False, "task_type": "FEATURE_EXTRACTION"}
    adapters = {
        "lora_query_value": LoraConfig(r=4, target_modules=["query", "value"], **more),
        "lora_all_linear": LoraConfig(r=2, target_modules="all-linear", **more),
        "lora_patterns": LoraConfig(r=4, target_modules=["query", "dense"],
                                    rank_pattern={"intermediate.dense": 2, "attention.output.dense": 3,
                                                  "layer.1.attention.self.query": 6},
                                    alpha_pattern={"output.dense": 5, "query": 6}, **more),
        "lora_rslora": LoraConfig(r=3, target_modules=r".*encoder\.layer\.\d+\.attention\.self\.(key|value)",
                                  use_rslora=True, **more),
        "lora_dora": LoraConfig(r=1, target_modules=["key"], use_dora=True, **more),
    }
    for seed, (name, config) in enumerate(adapters.items()):
        torch.manual_seed(seed)
        model = get_peft_model(load_base(HERE / "base"), config).eval()
        for parameter_name, parameter in model.named_parameters():
            if "lora_" in parameter_name:
                torch.nn.init.normal_(parameter, 0, 0.2)
        model.save_pretrained(HERE / name, save_embedding_layers=False)
        (HERE / name / "README.md").unlink(missing_ok=True)
        note(name, model)


def teach_bert():
    from gptqmodel.models.auto import MODEL_MAP, SUPPORTED_MODELS
    from gptqmodel.models.base import BaseQModel
    from transformers import AutoModel
    from transformers.models.bert import modeling_bert

    class BertQModel(BaseQModel):
        loader = AutoModel
        lm_head = "pooler"
        pre_lm_head_norm_module = None
        module_tree = ["encoder", "layer", "#", {"attention.self": ("query:0", "key:0", "value:0"),
                                                 "attention.output": ("dense",), "intermediate": ("dense",),
                                                 "output": ("dense",)}]

    MODEL_MAP["bert"] = BertQModel
    SUPPORTED_MODELS.append("bert")
    forward = modeling_bert.BertLayer.forward

    def as_decoders(self, hidden_states, attention_mask=None, *_, **__):
        return forward(self, hidden_states, attention_mask)

    modeling_bert.BertLayer.forward = as_decoders  # GPTQModel calls a layer with what decoders take besides.
    return BertQModel


def make_gptq(folder):
    from gptqmodel import BACKEND, QuantizeConfig
    bert = teach_bert()
    make_base(folder, hidden=64, layers=1)
    note("gptq_base", load_base(folder))
    texts = [{"input_ids": ids, "attention_mask": [1] * len(ids)} for ids in sequences(128, 2)]
    for name, form, desc_act, symmetric in (("gptq_v1", "gptq", False, True),
                                            ("gptq_v1_desc_act", "gptq", True, False),
                                            ("gptq_v2_desc_act", "gptq_v2", True, False)):
        config = QuantizeConfig(bits=4, group_size=32, desc_act=desc_act, sym=symmetric, format=form, device="cpu",
                                act_group_aware=False, offload_to_disk=False)
        model = bert.from_pretrained(str(folder), config, dtype=torch.float32)
        model.quantize(texts, batch_size=1)
        model.save(str(HERE / name))
        for more in ("quant_log.csv", "quantize_config.json", "special_tokens_map.json", "tokenizer.json"):
            (HERE / name / more).unlink(missing_ok=True)
        save_tokenizer(HERE / name)
        loaded = bert.from_quantized(str(HERE / name), device="cpu", backend=BACKEND.TORCH, dtype=torch.float32)
        note(name, loaded.model)


if __name__ == "__main__":
    shutil.rmtree(HERE, ignore_errors=True)
    HERE.mkdir()
    make_lora()
    with tempfile.TemporaryDirectory() as place:
        make_gptq(pathlib.Path(place))
    for path in HERE.rglob("*.safetensors"):
        path.chmod(0o644)
