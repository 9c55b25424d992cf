// Counter-based normal noise: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) and
// the Box-Muller transform. A number depends only on (seed, block, step, element).
#ifndef LONGTAKE_ENGINE_CORE_PHILOX_H_
#define LONGTAKE_ENGINE_CORE_PHILOX_H_

#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>

namespace longtake {

using PhiloxCounter = std::array<uint32_t, 4>;
using PhiloxKey = std::array<uint32_t, 2>;

// Ten rounds. The constants are the paper's multipliers and Weyl increments (golden ratio, sqrt(3) - 1).
inline PhiloxCounter Philox4x32(PhiloxCounter c, PhiloxKey k) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * c[0];
    const uint64_t p1 = uint64_t{0xCD9E8D57u} * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k[0], static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k[1], static_cast<uint32_t>(p0)};
    k[0] += 0x9E3779B9u;
    k[1] += 0xBB67AE85u;
  }
  return c;
}

// Returns four normal numbers: elements 4*quad ... 4*quad + 3 of the noise of (seed, block, step).
inline std::array<float, 4> NormalQuad(uint64_t seed, uint32_t block, uint32_t step, uint64_t quad) {
  // Counter: the quad's index in the low 64 bits, then block and step.
  const PhiloxCounter r = Philox4x32({static_cast<uint32_t>(quad), static_cast<uint32_t>(quad >> 32), block, step},
                                     {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
  std::array<float, 4> out;
  for (int i = 0; i < 2; ++i) {
    // (r + 0.5) * 2^-32 lies strictly between 0 and 1, so the logarithm is finite and no number exceeds 6.66 in
    // magnitude.
    const double u = (r[2 * i] + 0.5) * 0x1p-32;
    const double angle = 2.0 * std::numbers::pi * ((r[2 * i + 1] + 0.5) * 0x1p-32);
    const double radius = std::sqrt(-2.0 * std::log(u));
    out[2 * i] = static_cast<float>(radius * std::cos(angle));
    out[2 * i + 1] = static_cast<float>(radius * std::sin(angle));
  }
  return out;
}

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_CORE_PHILOX_H_
