// engine/cuda/warp.h on the host: every collective computed from its definition.
#ifndef LONGTAKE_TESTS_CUDA_EMULATION_WARP_PLATFORM_H_
#define LONGTAKE_TESTS_CUDA_EMULATION_WARP_PLATFORM_H_

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "cuda_platform.h"
#include "engine/core/float16.h"
#include "engine/quantization/formats.h"

namespace longtake::cuda {

struct Bf16 {
  uint16_t bits;
};

inline float ToFloat(Bf16 x) { return BF16ToFloat(x.bits); }
inline float ToFloat(float x) { return x; }
inline Bf16 ToBf16(float x) { return {FloatToBF16(x)}; }
inline uint32_t PackBf16(float low, float high) {
  return uint32_t{FloatToBF16(low)} | uint32_t{FloatToBF16(high)} << 16;
}
inline uint32_t PackE4m3(float low, float high) { return uint32_t{EncodeE4m3(low)} | uint32_t{EncodeE4m3(high)} << 8; }
inline float LowFloat(uint32_t pair) { return __uint_as_float(pair << 16); }
inline float HighFloat(uint32_t pair) { return __uint_as_float(pair & 0xffff0000u); }
// To the nearest of 10 bits, ties away from zero.
inline uint32_t ToTf32(float x) { return (__float_as_uint(x) + 0x1000u) & 0xffffe000u; }

inline float FastExp2(float x) { return x < -126.f ? 0.f : std::exp2(x); }
// Rounded to 10 bits, which is the error that the device's may have.
inline float FastTanh(float x) { return __uint_as_float(ToTf32(std::tanh(x)) & 0xffffe000u); }

inline emulation::BlockRunner& Runner() { return emulation::BlockRunner::OfThisThread(); }

template <typename T>
T* SharedMemory() {
  return static_cast<T*>(Runner().shared());
}

inline void SyncBlock() { Runner().SyncBlock(); }
inline void SyncWarp() { Runner().SyncWarp(nullptr, nullptr); }

namespace collective {

struct Mma {
  float* d;
  const uint32_t *a, *b;
};
// D += A B for kK inner columns, from each lane's registers as warp.h lays them out.
template <int kK, typename ElementA, typename ElementB>
void Multiply(void* const lanes[32], ElementA a_of, ElementB b_of) {
  float A[16][kK], B[kK][8];
  for (int row = 0; row < 16; ++row) {
    for (int k = 0; k < kK; ++k) A[row][k] = a_of(row, k);
  }
  for (int k = 0; k < kK; ++k) {
    for (int column = 0; column < 8; ++column) B[k][column] = b_of(k, column);
  }
  for (int lane = 0; lane < 32; ++lane) {
    float* d = static_cast<const Mma*>(lanes[lane])->d;
    for (int j = 0; j < 4; ++j) {
      const int row = lane / 4 + (j / 2) * 8, column = lane % 4 * 2 + j % 2;
      for (int k = 0; k < kK; ++k) d[j] += A[row][k] * B[k][column];
    }
  }
}
inline void MultiplyBf16(void* const lanes[32]) {
  const auto lane = [&](int g, int i) { return static_cast<const Mma*>(lanes[g * 4 + i]); };
  const auto half = [](uint32_t pair, int high) { return high ? HighFloat(pair) : LowFloat(pair); };
  Multiply<16>(
      lanes, [&](int row, int k) { return half(lane(row % 8, k % 8 / 2)->a[row / 8 + k / 8 * 2], k % 2); },
      [&](int k, int column) { return half(lane(column, k % 8 / 2)->b[k / 8], k % 2); });
}
inline void MultiplyTf32(void* const lanes[32]) {
  const auto lane = [&](int g, int i) { return static_cast<const Mma*>(lanes[g * 4 + i]); };
  // The tensor core reads TF32's bits only.
  const auto value = [](uint32_t bits) { return __uint_as_float(bits & 0xffffe000u); };
  Multiply<8>(
      lanes, [&](int row, int k) { return value(lane(row % 8, k % 4)->a[row / 8 + k / 4 * 2]); },
      [&](int k, int column) { return value(lane(column, k % 4)->b[k / 4]); });
}

// A device ends the kernel where 16 bytes are not aligned.
inline void Require16(const void* p, const char* who) {
  if (reinterpret_cast<uintptr_t>(p) % 16 == 0) return;
  std::fprintf(stderr, "emulation: %s of %p, which is not aligned to 16 bytes\n", who, p);
  std::abort();
}

struct Load {
  uint32_t* r;
  const void* row;
};
template <bool kTransposed>
void LoadMatrices(void* const lanes[32]) {
  for (int matrix = 0; matrix < 4; ++matrix) {
    uint16_t m[8][8];
    for (int row = 0; row < 8; ++row) {
      const void* from = static_cast<const Load*>(lanes[matrix * 8 + row])->row;
      Require16(from, "LoadMatrix4");
      std::memcpy(m[row], from, 16);
    }
    for (int lane = 0; lane < 32; ++lane) {
      const int g = lane / 4, i = lane % 4 * 2;
      const uint16_t low = kTransposed ? m[i][g] : m[g][i], high = kTransposed ? m[i + 1][g] : m[g][i + 1];
      static_cast<const Load*>(lanes[lane])->r[matrix] = low | uint32_t{high} << 16;
    }
  }
}

template <typename T>
struct Exchange {
  T in, out;
  int lane;  // read from; of ShuffleXor already applied
};
template <typename T>
void Exchanged(void* const lanes[32]) {
  for (int lane = 0; lane < 32; ++lane) {
    auto* own = static_cast<Exchange<T>*>(lanes[lane]);
    own->out = static_cast<const Exchange<T>*>(lanes[own->lane & 31])->in;
  }
}
inline void Voted(void* const lanes[32]) {
  uint32_t votes = 0;
  for (int lane = 0; lane < 32; ++lane) votes |= static_cast<const Exchange<uint32_t>*>(lanes[lane])->in << lane;
  for (int lane = 0; lane < 32; ++lane) static_cast<Exchange<uint32_t>*>(lanes[lane])->out = votes;
}

}  // namespace collective

inline void MmaBf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  collective::Mma mma = {d, a, b};
  Runner().SyncWarp(&collective::MultiplyBf16, &mma);
}
inline void MmaTf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  collective::Mma mma = {d, a, b};
  Runner().SyncWarp(&collective::MultiplyTf32, &mma);
}
inline void LoadMatrix4(uint32_t (&r)[4], const void* shared_row) {
  collective::Load load = {r, shared_row};
  Runner().SyncWarp(&collective::LoadMatrices<false>, &load);
}
inline void LoadMatrix4Transposed(uint32_t (&r)[4], const void* shared_row) {
  collective::Load load = {r, shared_row};
  Runner().SyncWarp(&collective::LoadMatrices<true>, &load);
}

template <typename T>
T ShuffleFrom(T v, int lane) {
  collective::Exchange<T> exchange = {v, v, lane};
  Runner().SyncWarp(&collective::Exchanged<T>, &exchange);
  return exchange.out;
}
inline float Shuffle(float v, int lane) { return ShuffleFrom(v, lane); }
inline uint32_t Shuffle(uint32_t v, int lane) { return ShuffleFrom(v, lane); }
inline float ShuffleXor(float v, int lanes) { return ShuffleFrom(v, (Runner().current().number % 32) ^ lanes); }
inline uint32_t Ballot(bool v) {
  collective::Exchange<uint32_t> exchange = {v ? 1u : 0u, 0, 0};
  Runner().SyncWarp(&collective::Voted, &exchange);
  return exchange.out;
}

// Copies land when they are waited for, not before: who reads early reads NaN.
inline void CopyAsync16(void* shared, const void* global, bool valid) {
  collective::Require16(shared, "CopyAsync16");
  collective::Require16(global, "CopyAsync16");
  Runner().current().open.push_back({shared, global, valid});
}
inline void CommitCopies() {
  emulation::Thread& thread = Runner().current();
  thread.groups.push_back(std::move(thread.open));
  thread.open.clear();
}
template <int kPending>
void WaitCopies() {
  auto& groups = Runner().current().groups;
  while (groups.size() > kPending) {
    for (const emulation::PendingCopy& copy : groups.front()) {
      if (copy.valid) {
        std::memcpy(copy.to, copy.from, 16);
      } else {
        std::memset(copy.to, 0, 16);
      }
    }
    groups.erase(groups.begin());
  }
}

}  // namespace longtake::cuda

#endif  // LONGTAKE_TESTS_CUDA_EMULATION_WARP_PLATFORM_H_
