#include "engine/cpu/workspace.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "absl/strings/str_cat.h"
#include "engine/ops/check.h"

namespace longtake::cpu {
namespace {

constexpr size_t kAlignment = 64;  // a cache line, so that pieces of two threads never share one

size_t Aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

// The address of planned pieces. It is never accessed. It is not null, so that offsets may be added.
std::byte* PlannedAddress() { return reinterpret_cast<std::byte*>(uintptr_t{1} << 20); }

void Raise(std::atomic<size_t>& most, size_t value) { most = std::max<size_t>(most, value); }

}  // namespace

const std::byte* Workspace::Scope::TakeZeros(size_t bytes) {
  std::byte* const zeros = Take(bytes);
  if (!workspace_.planning_) std::memset(zeros, 0, bytes);
  return zeros;
}

Workspace::PerThread Workspace::Scope::TakePerThread(size_t bytes) {
  const size_t stride = Aligned(bytes);
  return {Take(stride * workspace_.threads_), stride};
}

absl::Status Workspace::Reserve() {
  Require(in_use_ == 0 && !reserved_, "Scratch::Reserve", "it is called once, between operations");
  try {
    region_ = Memory();
    region_ = Memory(planned_);
    // Linux commits a page when it is first written, and kills the process if it has none left.
    std::memset(region_.data(), 0, region_.size());
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(
        absl::StrCat("scratch: the ", planned_.load(), " bytes that operations of the cpu backend work in"));
  }
  reserved_ = true;
  return absl::OkStatus();
}

std::byte* Workspace::Take(size_t bytes) {
  const size_t offset = in_use_;
  const size_t end = offset + Aligned(bytes);
  if (planning_) {
    in_use_ = end;
    Raise(planned_, end);
    return PlannedAddress();
  }
  if (offset == 0 && !reserved_) {
    if (const size_t most = std::max<size_t>(used_, end); region_.size() < most) {
      region_ = Memory();  // frees the smaller region before allocating the larger one
      region_ = Memory(most);
    }
  }
  std::byte* piece = nullptr;
  if (end <= region_.size()) {
    piece = region_.data() + offset;
  } else {
    Require(!reserved_, "Scratch", "an operation needs no more than was planned");
    piece = overflow_.emplace_back(offset, Memory(bytes)).memory.data();
  }
  in_use_ = end;
  Raise(used_, end);
  return piece;
}

void Workspace::Release(size_t to) {
  in_use_ = to;
  while (!overflow_.empty() && overflow_.back().offset >= to) overflow_.pop_back();
}

}  // namespace longtake::cpu
