// The 64-bit FNV-1a hash: identifies files, and protects against nothing.
#ifndef LONGTAKE_ENGINE_CORE_FNV1A_H_
#define LONGTAKE_ENGINE_CORE_FNV1A_H_

#include <cstdint>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "engine/core/input_file.h"

namespace longtake {

class Fnv1a {
 public:
  void Add(std::span<const char> bytes) {
    for (const char c : bytes) hash_ = (hash_ ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
  }
  // Adds the file's size and all of its bytes. Errors are those of reading it.
  absl::Status AddFile(const InputFile& file);
  // Adds the size, and all bytes of a file of up to 32 MB; of a larger one 256 evenly spaced pages of 4 KB: training
  // changes every tensor, and reading all 10 GB of a model's weights twice would double its loading time.
  absl::Status AddSampledFile(const InputFile& file);
  std::string hex() const;  // 16 digits

 private:
  uint64_t hash_ = 0xcbf29ce484222325u;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_CORE_FNV1A_H_
