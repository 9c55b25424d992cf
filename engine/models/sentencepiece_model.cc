#include "engine/models/sentencepiece_model.h"

#include <dlfcn.h>

#include <filesystem>

namespace longtake {
namespace {

constexpr char kModule[] = "longtake_sentencepiece.so";

// Debian's libsentencepiece holds and exports an own protobuf 3.14. In a process with gRPC, which brings protobuf 3.21, either
// one would answer for both and end the process at its version check. So SentencePiece is linked into a module whose symbols are
// looked up in itself first and shown to nobody.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int kFlags = RTLD_NOW | RTLD_LOCAL;  // sanitizers refuse RTLD_DEEPBIND: no tokenizer beside gRPC there
#else
constexpr int kFlags = RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND;
#endif

// Beside the program, as the build puts it, or where the system looks for libraries. Stays loaded.
void* OpenModule() {
  std::error_code ignored;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", ignored);
  if (void* module = dlopen((program.parent_path() / kModule).c_str(), kFlags); module != nullptr) return module;
  return dlopen(kModule, kFlags);
}

}  // namespace

std::unique_ptr<SentencePieceModel> SentencePieceModel::Parse(std::string_view bytes, std::string* error) {
  void* module = OpenModule();
  void* parse = module != nullptr ? dlsym(module, "longtake_sentencepiece_parse") : nullptr;
  if (parse == nullptr) {
    *error = std::string("cannot be read: ") + dlerror();
    return nullptr;
  }
  std::unique_ptr<SentencePieceModel> model(
      reinterpret_cast<SentencePieceModel* (*)(const char*, size_t)>(parse)(bytes.data(), bytes.size()));
  if (model == nullptr) *error = "is not a SentencePiece model";
  return model;
}

}  // namespace longtake
