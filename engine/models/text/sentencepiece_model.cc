#include "engine/models/text/sentencepiece_model.h"

#include <dlfcn.h>

#include "absl/strings/str_cat.h"

namespace longtake {

absl::StatusOr<std::unique_ptr<SentencePieceModel>> ParseSentencePiece(std::string_view bytes) {
  // Never closed: its models may live as long as the process, and loading it again only counts up.
  void* library = dlopen("longtake-sentencepiece.so", RTLD_NOW | RTLD_LOCAL | LONGTAKE_SENTENCEPIECE_BINDING);
  if (library == nullptr) return absl::InternalError(absl::StrCat("tokenizer library: ", dlerror()));
  const auto parse = reinterpret_cast<ParseSentencePieceFunction>(dlsym(library, kParseSentencePiece));
  if (parse == nullptr) return absl::InternalError(absl::StrCat("tokenizer library: ", dlerror()));
  return std::unique_ptr<SentencePieceModel>(parse(bytes));
}

}  // namespace longtake
