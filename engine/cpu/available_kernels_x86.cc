// For x86-64.
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

#include "engine/cpu/available_kernels.h"

namespace longtake::cpu {
namespace {

struct Registers {
  unsigned a = 0, b = 0, c = 0, d = 0;
};

Registers Leaf(unsigned leaf, unsigned sub) {
  Registers r;
  if (!__get_cpuid_count(leaf, sub, &r.a, &r.b, &r.c, &r.d)) return {};
  return r;
}

// XCR0: the register states that the operating system saves. Requires that CPUID reports OSXSAVE.
uint64_t EnabledState() {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t{high} << 32 | low;
}

bool Bit(unsigned r, int bit) { return (r >> bit & 1) != 0; }

// Linux' ARCH_REQ_XCOMP_PERM for XFEATURE_XTILEDATA: requests permission for this process and its future threads.
bool RequestAmxTiles() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // NOLINT: the system call's own type
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

}  // namespace

Isa DetectIsa() {
  const Registers one = Leaf(1, 0), seven = Leaf(7, 0), seven_one = Leaf(7, 1);
  if (!Bit(one.c, 27) || !Bit(one.c, 28) || !Bit(one.c, 12) || !Bit(one.c, 29))
    return Isa::kNone;  // OSXSAVE AVX FMA F16C
  const uint64_t state = EnabledState();
  if ((state & 0x6) != 0x6 || !Bit(seven.b, 5)) return Isa::kNone;  // xmm, ymm; AVX2
  // Required for AVX-512: opmask and zmm state; F, DQ, BW, VL.
  if ((state & 0xe6) != 0xe6 || !Bit(seven.b, 16) || !Bit(seven.b, 17) || !Bit(seven.b, 30) || !Bit(seven.b, 31)) {
    return Isa::kAvx2;
  }
  if (!Bit(seven.c, 11)) return Isa::kAvx512;
  if (!Bit(seven_one.a, 5)) return Isa::kAvx512Vnni;
  // Required for AMX: AMX-TILE, AMX-BF16, AMX-INT8, and both tile states.
  if ((state & 0x60000) != 0x60000 || !Bit(seven.d, 24) || !Bit(seven.d, 22) || !Bit(seven.d, 25) ||
      !RequestAmxTiles()) {
    return Isa::kAvx512Bf16;
  }
  return Isa::kAmxBf16;
}

std::string WhatIsMissing() { return "backend: cpu needs a processor with AVX2, FMA and F16C"; }

KernelTable KernelsOf(Isa isa) {
  KernelTable table = {};
  switch (isa) {
    case Isa::kNone:
    case Isa::kAvx2:
      avx2::FillTable(&table);
      break;
    case Isa::kAvx512:
      avx512::FillTable(&table);
      break;
    case Isa::kAvx512Vnni:
      avx512_vnni::FillTable(&table);
      break;
    case Isa::kAvx512Bf16:
      avx512_bf16::FillTable(&table);
      break;
    case Isa::kAmxBf16:
      amx_bf16::FillTable(&table);
      break;
  }
  return table;
}

std::optional<KernelTable> EmulatedAmxKernels() {
  if (DetectIsa() < Isa::kAvx512Bf16) return std::nullopt;
  KernelTable table = {};
  amx_bf16::FillEmulatedTable(&table);
  return table;
}

}  // namespace longtake::cpu
