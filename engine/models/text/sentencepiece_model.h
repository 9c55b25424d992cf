// SentencePiece models, from a library loaded at run time.
//
// Why it is not linked: Debian's libsentencepiece carries a protobuf 3.14 of its own and exports its symbols; in a
// program that also links the system's protobuf 3.21 (gRPC) one binds to the other and the program aborts at start.
// Loaded with RTLD_DEEPBIND the library finds its own first. Its header also declares an absl::string_view, so that no
// file can include both it and Abseil.
#ifndef LONGTAKE_ENGINE_MODELS_TEXT_SENTENCEPIECE_MODEL_H_
#define LONGTAKE_ENGINE_MODELS_TEXT_SENTENCEPIECE_MODEL_H_

#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/models/text/sentencepiece_interface.h"

namespace longtake {

// Null where the bytes are no model. Internal where the library, which lies beside the program, cannot be loaded.
absl::StatusOr<std::unique_ptr<SentencePieceModel>> ParseSentencePiece(std::string_view bytes);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_TEXT_SENTENCEPIECE_MODEL_H_
