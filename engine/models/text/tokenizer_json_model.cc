// Tokenizes with a tokenizer.json as Hugging Face's `tokenizers` does with encode_special_tokens set: special tokens in
// a text are encoded as text.
#include <algorithm>
#include <unordered_map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/status_macros.h"
#include "engine/models/text/bpe.h"
#include "engine/models/text/piece_matcher.h"
#include "engine/models/text/tokenizer_json.h"
#include "engine/models/text/tokenizer_model.h"
#include "engine/models/text/vocabulary.h"

namespace longtake {
namespace {

std::string WithoutSpaces(std::string_view text) {
  return absl::StrReplaceAll(absl::string_view(text.data(), text.size()), {{" ", "\xe2\x96\x81"}});
}

class TokenizerJsonModel final : public TokenizerModel, private BpeMerges {
 public:
  static absl::StatusOr<std::unique_ptr<TokenizerModel>> Create(TokenizerJson file) {
    std::unique_ptr<TokenizerJsonModel> model(new TokenizerJsonModel);
    model->bos_ = file.bos_id;
    RETURN_IF_ERROR(model->AddPieces(file));
    RETURN_IF_ERROR(model->AddMerges(file));
    const std::optional<ByteIds> bytes = FindBytePieces(model->text_);
    if (!bytes) return absl::InvalidArgumentError("does not have the 256 pieces of byte_fallback");
    model->bytes_ = *bytes;
    return model;
  }

  void Encode(std::string_view text, std::vector<int32_t>* ids) const override {
    const auto append = [ids](int32_t id) { ids->push_back(id); };
    raw_symbols_.Split(text, append, [&](std::string_view rest) {
      normal_symbols_.Split(WithoutSpaces(rest), append, [&](std::string_view part) { EncodePart(part, ids); });
    });
  }

  std::optional<int32_t> FindPiece(std::string_view piece) const override {
    const std::optional<int32_t> id = added_.Find(piece);
    return id ? id : text_.Find(piece);
  }
  int64_t vocabulary() const override { return vocabulary_; }
  std::optional<int32_t> bos_id() const override { return bos_; }
  std::optional<int32_t> pad_id() const override { return FindPiece("<pad>"); }

 private:
  absl::Status AddPieces(const TokenizerJson& file) {
    std::vector<int32_t> ids;
    for (const auto& [text, id] : file.vocabulary) {
      if (!text_.Add(text, id)) {
        return absl::InvalidArgumentError(absl::StrCat("model: field 'vocab' has the piece '", text, "' twice"));
      }
      ids.push_back(id);
    }
    std::sort(ids.begin(), ids.end());
    if (const auto twice = std::adjacent_find(ids.begin(), ids.end()); twice != ids.end()) {
      return absl::InvalidArgumentError(absl::StrCat("model: field 'vocab' has the id ", *twice, " twice"));
    }
    vocabulary_ = ids.empty() ? 0 : int64_t{ids.back()} + 1;
    for (const auto& [text, id, normalized, special] : file.added_tokens) {
      if (text_.Find(text).value_or(id) != id || !added_.Add(text, id)) {
        return absl::InvalidArgumentError(absl::StrCat("field 'added_tokens' gives '", text, "' a second id"));
      }
      vocabulary_ = std::max<int64_t>(vocabulary_, int64_t{id} + 1);
      if (special || IsControlPiece(text)) continue;
      if (normalized) {
        normal_symbols_.Add(WithoutSpaces(text), id);
      } else {
        raw_symbols_.Add(text, id);
      }
    }
    return absl::OkStatus();
  }

  absl::Status AddMerges(const TokenizerJson& file) {
    int32_t rank = 0;
    for (const auto& [left, right] : file.merges) {
      const std::string both = left + right;
      const std::optional<int32_t> a = text_.Find(left), b = text_.Find(right), id = text_.Find(both);
      if (!a || !b || !id) {
        return absl::InvalidArgumentError(
            absl::StrCat("model: field 'merges' joins '", left, "' and '", right, "', which are no pieces together"));
      }
      if (!IsControlPiece(both)) merges_.insert_or_assign(Key(*a, *b), BpeMerge{rank, *id});
      ++rank;
    }
    return absl::OkStatus();
  }

  static uint64_t Key(int32_t left, int32_t right) {
    return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
  }
  std::optional<BpeMerge> Find(const BpeSymbol& left, const BpeSymbol& right, std::string_view) const override {
    const auto it = merges_.find(Key(left.id, right.id));
    return it == merges_.end() ? std::nullopt : std::optional(it->second);
  }

  void EncodePart(std::string_view text, std::vector<int32_t>* ids) const {
    std::vector<BpeSymbol> symbols;
    for (const BpeSymbol& c : Characters(text, text_)) {
      if (c.id >= 0) {
        symbols.push_back(c);
        continue;
      }
      for (size_t i = c.begin; i < c.end; ++i) symbols.push_back({bytes_[static_cast<uint8_t>(text[i])], i, i + 1});
    }
    MergeSymbols(text, *this, &symbols);
    for (const BpeSymbol& s : symbols) ids->push_back(s.id);
  }

  PieceIds text_, added_;
  PieceMatcher raw_symbols_, normal_symbols_;  // matched in the original text, and in the text with its spaces replaced
  std::unordered_map<uint64_t, BpeMerge> merges_;
  ByteIds bytes_ = {};
  int64_t vocabulary_ = 0;
  std::optional<int32_t> bos_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<TokenizerModel>> ParseTokenizerJson(std::string_view text) {
  ASSIGN_OR_RETURN(TokenizerJson file, ParseTokenizerJsonFile(text));
  return TokenizerJsonModel::Create(std::move(file));
}

}  // namespace longtake
