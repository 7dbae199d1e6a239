#include "engine/inference/model_provenance.h"

#include <doctest/doctest.h>

namespace foreshore {

TEST_CASE("provenance: sources come before names, identifiers before links, whatever the case of the keys") {
  const ModelProvenance found = ProvenanceOf({{"general.name", "MiniLM"},
                                              {"general.license.link", "https://example.org/l"},
                                              {"General.License", "mit"},
                                              {"general.source.url", "https://example.org/m"}});
  CHECK(found.licence == "mit");
  CHECK(found.origin == "https://example.org/m");
  CHECK(ProvenanceOf({{"LICENSE", "apache-2.0"}, {"model_name", "m"}}).licence == "apache-2.0");
  CHECK(ProvenanceOf({{"license", ""}, {"modelspec.license", "mit"}}).licence == "mit");
  CHECK(ProvenanceOf({{"other", "x"}}).licence.empty());
  CHECK(ProvenanceOf({{"other", "x"}}).origin.empty());
}

TEST_CASE("provenance: what is there is kept, what is empty is completed") {
  ModelProvenance provenance{"mit", ""};
  provenance.Complete({"other", "origin"});
  CHECK(provenance.licence == "mit");
  CHECK(provenance.origin == "origin");
}

TEST_CASE("provenance: hostile text becomes short, printable UTF-8") {
  CHECK(ProvenanceText("  a\n\x1B[31m\xFF\xC0\xAFz\xC3\xBC ") == "a[31mz\xC3\xBC");
  CHECK(ProvenanceText("\xED\xA0\x80\xF4\x90\x80\x80\xE0\x80\x80\xC3").empty());
  CHECK(ProvenanceText(std::string(300, 'a')).size() == 256);
  CHECK(ProvenanceText(std::string(255, 'a') + "\xC3\xBC").size() == 255);  // No half character.
  CHECK(ProvenanceText("").empty());
  CHECK(ProvenanceText(" \n ").empty());
}

TEST_CASE("provenance: a model card's front matter alone says the licence") {
  CHECK(LicenceOfModelCard("---\nlanguage: en\nlicense: apache-2.0\n---\n") == "apache-2.0");
  CHECK(LicenceOfModelCard("---\r\nlicense: \"mit\"\r\n---\r\n") == "mit");
  CHECK(LicenceOfModelCard("---\nlanguage: en\n---\nlicense: mit\n").empty());
  CHECK(LicenceOfModelCard("license: mit\n").empty());
  CHECK(LicenceOfModelCard("---").empty());
  CHECK(LicenceOfModelCard("").empty());
}

}  // namespace foreshore
