// The 64-bit FNV-1a hash: identifies files, and protects against nothing.
#ifndef LONGTAKE_ENGINE_CORE_FNV1A_H_
#define LONGTAKE_ENGINE_CORE_FNV1A_H_

#include <cstdint>
#include <span>

namespace longtake {

class Fnv1a {
 public:
  void Add(std::span<const char> bytes) {
    for (const char c : bytes) hash_ = (hash_ ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
  }
  uint64_t hash() const { return hash_; }

 private:
  uint64_t hash_ = 0xcbf29ce484222325u;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_CORE_FNV1A_H_
