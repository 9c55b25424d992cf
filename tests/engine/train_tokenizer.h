// A small SentencePiece model, trained on the spot.
#ifndef LONGTAKE_TESTS_ENGINE_TRAIN_TOKENIZER_H_
#define LONGTAKE_TESTS_ENGINE_TRAIN_TOKENIZER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace longtake {

// The bytes of a model with byte fallback and Gemma's settings; pieces: <pad> 0, <eos> 1, <bos> 2, <unk> 3. With bos or
// pad false the model has no such piece. Empty where training failed.
std::string TrainTokenizer(bool bos = true, bool pad = true);
// The same with other options of the trainer.
std::string TrainTokenizerWith(const std::map<std::string, std::string>& options);

// What the sentencepiece library makes of a model. (Its header declares an absl::string_view of its own, so that no
// file can include both it and Abseil.)
class SentencePieceReference {
 public:
  explicit SentencePieceReference(const std::string& model);
  ~SentencePieceReference();
  std::vector<int32_t> Encode(const std::string& text) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace longtake

#endif  // LONGTAKE_TESTS_ENGINE_TRAIN_TOKENIZER_H_
