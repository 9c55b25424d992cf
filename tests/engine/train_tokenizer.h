// A small SentencePiece model, trained on the spot.
#ifndef LONGTAKE_TESTS_ENGINE_TRAIN_TOKENIZER_H_
#define LONGTAKE_TESTS_ENGINE_TRAIN_TOKENIZER_H_

#include <string>

namespace longtake {

// The bytes of a model with byte fallback and Gemma's settings; pieces: <pad> 0, <eos> 1, <bos> 2, <unk> 3. With bos or
// pad false the model has no such piece. Empty where training failed.
std::string TrainTokenizer(bool bos = true, bool pad = true);

}  // namespace longtake

#endif  // LONGTAKE_TESTS_ENGINE_TRAIN_TOKENIZER_H_
