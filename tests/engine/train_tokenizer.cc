#include "tests/engine/train_tokenizer.h"

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <cstdlib>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace longtake {
namespace {

class Sentences : public sentencepiece::SentenceIterator {
 public:
  explicit Sentences(std::vector<std::string> sentences) : sentences_(std::move(sentences)) {}
  bool done() const override { return at_ >= sentences_.size(); }
  void Next() override { ++at_; }
  const std::string& value() const override { return sentences_[at_]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  std::vector<std::string> sentences_;
  size_t at_ = 0;
};

}  // namespace

std::string TrainTokenizer(bool bos, bool pad) {
  return TrainTokenizerWith({
      {"pad_id", pad ? "0" : "-1"},
      {"eos_id", pad ? "1" : "0"},
      {"bos_id", bos ? (pad ? "2" : "1") : "-1"},
      {"unk_id", bos ? (pad ? "3" : "2") : "2"},
  });
}

std::string TrainTokenizerWith(const std::map<std::string, std::string>& more) {
  std::vector<std::string> sentences;
  for (const char* colour : {"red", "green", "blue", "white"}) {
    for (const char* thing : {"ball", "star", "ring", "boat"}) {
      sentences.push_back(std::string("a ") + colour + " " + thing + " moves slowly over the meadow");
      sentences.push_back(std::string("the ") + thing + " is " + colour + ". motion score: 10.");
    }
  }
  std::unordered_map<std::string, std::string> options = {
      {"model_type", "bpe"},
      {"vocab_size", "330"},  // 256 bytes, 4 control pieces, about 26 letters, the rest merges
      {"byte_fallback", "true"},
      {"normalization_rule_name", "identity"},
      {"add_dummy_prefix", "false"},
      {"remove_extra_whitespaces", "false"},
      {"user_defined_symbols", "\n"},
      {"pad_id", "0"},
      {"eos_id", "1"},
      {"bos_id", "2"},
      {"unk_id", "3"},
      {"minloglevel", "2"},
      {"num_threads", "1"},
  };
  for (const auto& [name, value] : more) options[name] = value;
  std::string model;
  Sentences iterator(std::move(sentences));
  if (!sentencepiece::SentencePieceTrainer::Train(options, &iterator, &model).ok()) return "";
  return model;
}

struct SentencePieceReference::Impl {
  sentencepiece::SentencePieceProcessor processor;
};
SentencePieceReference::SentencePieceReference(const std::string& model) : impl_(std::make_unique<Impl>()) {
  if (!impl_->processor.LoadFromSerializedProto(model).ok()) std::abort();
}
SentencePieceReference::~SentencePieceReference() = default;
std::vector<int32_t> SentencePieceReference::Encode(const std::string& text) const {
  std::vector<int> ids;
  if (!impl_->processor.Encode(text, &ids).ok()) std::abort();
  return {ids.begin(), ids.end()};
}

}  // namespace longtake
