// Memory and random values for tests of VAEs as streams.
#ifndef LONGTAKE_TESTS_ENGINE_VAE_MEMORY_H_
#define LONGTAKE_TESTS_ENGINE_VAE_MEMORY_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace longtake {

inline std::vector<float> Normals(int64_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(n);
  for (float& v : values) v = normal(random);
  return values;
}

// Memory in which every byte is set, with as much behind it to see whether anybody writes there.
class Guarded {
 public:
  explicit Guarded(size_t bytes) : bytes_(bytes), memory_(2 * bytes + 128, kFill) {}
  uint8_t* data() { return memory_.data() + (64 - reinterpret_cast<uintptr_t>(memory_.data()) % 64); }
  bool Intact() {
    return std::all_of(data() + bytes_, memory_.data() + memory_.size(), [](uint8_t b) { return b == kFill; });
  }
  size_t bytes() const { return bytes_; }
  // Lines of 64 bytes, in which memory is laid out, that still hold the filling only.
  size_t UntouchedLines() {
    size_t lines = 0;
    for (size_t at = 0; at < bytes_; at += 64) {
      lines += std::all_of(data() + at, data() + std::min(at + 64, bytes_), [](uint8_t b) { return b == kFill; });
    }
    return lines;
  }

  static constexpr uint8_t kFill = 0xff;  // a float of it is not a number, and so would be all that it touches

 private:
  size_t bytes_;
  std::vector<uint8_t> memory_;
};

}  // namespace longtake

#endif  // LONGTAKE_TESTS_ENGINE_VAE_MEMORY_H_
