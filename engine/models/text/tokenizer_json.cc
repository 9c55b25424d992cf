#include "engine/models/text/tokenizer_json.h"

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "engine/core/json_config.h"
#include "engine/core/json_tree.h"

namespace longtake {
namespace {

using nlohmann::json;

constexpr int64_t kMaxId = (1 << 24) - 1;
constexpr size_t kMaxPieces = 1 << 20, kMaxMerges = 1 << 22;  // Gemma: 256,000 and 580,000
constexpr size_t kMaxOtherValues = 100'000;  // besides vocabulary and merges; Gemma's 216 added tokens are 1,700 values
constexpr size_t kShownBytes = 100;          // of a piece, in error messages

// Wraps a section as a config, whose errors read "model: field 'x' ...".
JsonConfig Section(const char* name, const json& value) { return {name, value}; }

// Returns `value` as text for error messages.
std::string Shown(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace).substr(0, 100);
}

// Stores vocabulary and merges directly while parsing, and leaves them empty in the tree. They are nearly all of a file
// (Gemma: 256,000 pieces and 580,000 merges in 34 MB) and would take ten times that as a tree.
class Reader final : public JsonTreeBuilder {
 public:
  explicit Reader(TokenizerJson* out) : JsonTreeBuilder(kMaxOtherValues), out_(*out) {}

  bool start_object(std::size_t size) override {
    if (part_ != Part::kOther) return WrongType();
    if (IsAt("vocab")) part_ = Part::kVocabulary;
    return JsonTreeBuilder::start_object(size);
  }
  bool end_object() override {
    part_ = Part::kOther;
    return JsonTreeBuilder::end_object();
  }
  bool key(string_t& key) override {
    if (part_ == Part::kOther) return JsonTreeBuilder::key(key);
    piece_ = std::move(key);
    return true;
  }
  bool start_array(std::size_t size) override {
    if (part_ == Part::kMerges) {
      part_ = Part::kPair;
      pair_.clear();
      return true;
    }
    if (part_ != Part::kOther) return WrongType();
    if (IsAt("merges")) part_ = Part::kMerges;
    return JsonTreeBuilder::start_array(size);
  }
  bool end_array() override {
    if (part_ == Part::kPair) {
      part_ = Part::kMerges;
      if (pair_.size() != 2) return WrongType();
      return AddMerge(std::move(pair_[0]), std::move(pair_[1]));
    }
    part_ = Part::kOther;
    return JsonTreeBuilder::end_array();
  }
  bool string(string_t& value) override {
    if (part_ == Part::kOther) return JsonTreeBuilder::string(value);
    if (part_ == Part::kPair && pair_.size() < 2) {
      pair_.push_back(std::move(value));
      return true;
    }
    // Older files write a merge as one string: both pieces, separated by a space.
    const size_t space = value.find(' ');
    if (part_ != Part::kMerges || space == std::string::npos || value.find(' ', space + 1) != std::string::npos) {
      return WrongType();
    }
    return AddMerge(value.substr(0, space), value.substr(space + 1));
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (part_ == Part::kOther) return JsonTreeBuilder::number_unsigned(value);
    if (part_ != Part::kVocabulary || value > kMaxId) return WrongType();
    out_.vocabulary.emplace_back(std::move(piece_), static_cast<int32_t>(value));
    return out_.vocabulary.size() <= kMaxPieces || Fail("model: field 'vocab' is too long");
  }
  bool null() override { return part_ == Part::kOther ? JsonTreeBuilder::null() : WrongType(); }
  bool boolean(bool v) override { return part_ == Part::kOther ? JsonTreeBuilder::boolean(v) : WrongType(); }
  bool number_integer(number_integer_t v) override {
    return part_ == Part::kOther ? JsonTreeBuilder::number_integer(v) : WrongType();
  }
  bool number_float(number_float_t v, const string_t& text) override {
    return part_ == Part::kOther ? JsonTreeBuilder::number_float(v, text) : WrongType();
  }

 private:
  enum class Part { kOther, kVocabulary, kMerges, kPair };

  bool IsAt(const char* field) const {
    return depth() == 2 && path().size() == 2 && path()[0] == "model" && path()[1] == field;
  }
  bool AddMerge(std::string left, std::string right) {
    out_.merges.emplace_back(std::move(left), std::move(right));
    return out_.merges.size() <= kMaxMerges || Fail("model: field 'merges' is too long");
  }
  bool WrongType() {
    if (part_ != Part::kVocabulary) {
      return Fail(absl::StrCat("model: field 'merges' has an entry ", out_.merges.size(), " that is no pair"));
    }
    return Fail(absl::StrCat("model: field 'vocab' gives the piece '", piece_.substr(0, kShownBytes), "' no id"));
  }

  TokenizerJson& out_;
  Part part_ = Part::kOther;
  std::string piece_;
  std::vector<std::string> pair_;
};

absl::Status CheckModel(const json& value) {
  if (!value.is_object()) return absl::InvalidArgumentError("field 'model' must be an object");
  JsonConfig model = Section("model", value);
  if (!model.Has("type")) model.Fail("type", "is missing");
  model.MustBe("type", "BPE");
  model.MustBe("dropout", nullptr);
  model.MustBe("byte_fallback", true);
  if (!model.Has("byte_fallback")) model.Fail("byte_fallback", "must be true");
  model.MustBe("ignore_merges", false);
  model.MustBe("continuing_subword_prefix", "");
  model.MustBe("end_of_word_suffix", "");
  model.Ignore({"unk_token", "fuse_unk"});  // byte fallback leaves no unknown characters
  const json *vocabulary = model.Raw("vocab"), *merges = model.Raw("merges");
  if (vocabulary == nullptr || !vocabulary->is_object()) model.Fail("vocab", "must be an object");
  if (merges == nullptr || !merges->is_array()) model.Fail("merges", "must be a list");
  return model.Finish();
}

absl::Status ReadAddedTokens(const json& value, TokenizerJson* out) {
  if (value.is_null()) return absl::OkStatus();
  if (!value.is_array()) return absl::InvalidArgumentError("field 'added_tokens' must be a list");
  for (const json& item : value) {
    if (!item.is_object()) return absl::InvalidArgumentError("field 'added_tokens' must be a list of objects");
    JsonConfig token = Section("added_tokens", item);
    TokenizerJson::AddedToken added{.text = token.String("content", ""),
                                    .id = static_cast<int32_t>(token.Int("id", 0, kMaxId)),
                                    .normalized = token.Bool("normalized", true),
                                    .special = token.Bool("special", false)};
    if (added.text.empty()) token.Fail("content", "is missing");
    token.MustBe("single_word", false);
    token.MustBe("lstrip", false);
    token.MustBe("rstrip", false);
    RETURN_IF_ERROR(token.Finish());
    out->added_tokens.push_back(std::move(added));
  }
  return absl::OkStatus();
}

// The only supported normalizer replaces each space by "▁".
absl::Status CheckNormalizer(json value) {
  const json wanted = {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "\xe2\x96\x81"}};
  if (value.is_object() && value.value("type", json()) == "Sequence" && value.size() == 2 &&
      value.contains("normalizers") && value["normalizers"].is_array() && value["normalizers"].size() == 1) {
    value = json(value["normalizers"][0]);
  }
  if (value == wanted) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("field 'normalizer' is ", Shown(value), ", but only ", Shown(wanted), " is supported"));
}

// The only supported pre-tokenizer splits at spaces. It has no effect, because the normalizer has replaced them.
absl::Status CheckPreTokenizer(const json& value) {
  const json wanted = {
      {"type", "Split"}, {"pattern", {{"String", " "}}}, {"behavior", "MergedWithPrevious"}, {"invert", false}};
  if (value.is_null() || value == wanted) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("field 'pre_tokenizer' is ", Shown(value), ", but only ", Shown(wanted), " is supported"));
}

// The only supported post-processor puts one piece in front of the text.
absl::Status ReadPostProcessor(const json& value, TokenizerJson* out) {
  if (value.is_null()) return absl::OkStatus();
  const auto refuse = [](const std::string& why) {
    return absl::InvalidArgumentError(absl::StrCat("field 'post_processor' ", why));
  };
  if (!value.is_object() || value.value("type", json()) != "TemplateProcessing") {
    return refuse(absl::StrCat("is ", Shown(value), ", but only TemplateProcessing is supported"));
  }
  JsonConfig processor = Section("post_processor", value);
  processor.Ignore({"type", "pair"});
  const json* single = processor.Raw("single");
  const json* tokens = processor.Raw("special_tokens");
  RETURN_IF_ERROR(processor.Finish());
  const json sequence = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  if (single == nullptr || !single->is_array() || single->size() != 2 || (*single)[1] != sequence ||
      !(*single)[0].is_object() || !(*single)[0].contains("SpecialToken")) {
    return refuse("must put one special token in front of the text and nothing else");
  }
  const json& special = (*single)[0]["SpecialToken"];
  const json name = special.is_object() ? special.value("id", json()) : json();
  if (tokens == nullptr || !tokens->is_object() || !name.is_string() || !tokens->contains(name.get<std::string>())) {
    return refuse("has no special token of that name");
  }
  const json& entry = (*tokens)[name.get<std::string>()];
  const json ids = entry.is_object() ? entry.value("ids", json()) : json();
  if (!ids.is_array() || ids.size() != 1 || !ids[0].is_number_unsigned() || ids[0].get<uint64_t>() > kMaxId) {
    return refuse(absl::StrCat("gives ", Shown(name), " not one id"));
  }
  out->bos_id = ids[0].get<int32_t>();
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TokenizerJson> ParseTokenizerJsonFile(std::string_view text) {
  TokenizerJson out;
  Reader reader(&out);
  if (!json::sax_parse(text, &reader)) return absl::InvalidArgumentError(reader.error());
  const json& tree = reader.tree();
  if (!tree.is_object()) return absl::InvalidArgumentError("is not a JSON object");
  const auto section = [&](const char* name) { return tree.value(name, json()); };
  for (const auto& [name, value] : tree.items()) {
    // Truncation and padding are done by the caller; decoding is not done.
    bool known = false;
    for (const char* field : {"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
                              "post_processor", "decoder", "model"}) {
      known = known || name == field;
    }
    if (!known) return absl::InvalidArgumentError(absl::StrCat("field '", name, "' is not known"));
  }
  RETURN_IF_ERROR(CheckNormalizer(section("normalizer")));
  RETURN_IF_ERROR(CheckPreTokenizer(section("pre_tokenizer")));
  RETURN_IF_ERROR(ReadPostProcessor(section("post_processor"), &out));
  RETURN_IF_ERROR(ReadAddedTokens(section("added_tokens"), &out));
  RETURN_IF_ERROR(CheckModel(section("model")));
  return out;
}

}  // namespace longtake
