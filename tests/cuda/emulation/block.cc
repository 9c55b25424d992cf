#include "tests/cuda/emulation/block.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "tests/cuda/emulation/settings.h"

namespace longtake::emulation {

void BlockRunner::Free::operator()(void* p) const { std::free(p); }

BlockRunner& BlockRunner::Make() {
  thread_local BlockRunner runner;
  running_ = &runner;
  return runner;
}

void BlockRunner::Fail(const char* why) {
  std::fprintf(stderr, "emulation: block (%u,%u,%u), thread %d of %zu: %s; %d wait at the barrier, %d have returned\n",
               block_index.x, block_index.y, block_index.z, current_ == nullptr ? -1 : current_->number,
               threads_.size(), why, at_barrier_, ended_);
  for (size_t w = 0; w < warps_.size(); ++w) {
    if (warps_[w].arrived > 0)
      std::fprintf(stderr, "  warp %zu: %d lanes wait in a collective\n", w, warps_[w].arrived);
  }
  std::abort();
}

void BlockRunner::Run(const std::function<void()>& kernel, Index3 grid_size, Index3 block_size, Index3 index,
                      size_t shared_bytes) {
  kernel_ = &kernel;
  grid = grid_size;
  block = block_size;
  block_index = index;
  const int count = static_cast<int>(block.x * block.y * block.z);
  // Of its exact size, so that AddressSanitizer sees what lies behind.
  void* shared = nullptr;
  if (shared_bytes > 0 && posix_memalign(&shared, 128, shared_bytes) != 0) Fail("no memory for its shared memory");
  shared_.reset(shared);
  if (shared != nullptr) std::memset(shared, 0xff, shared_bytes);

  threads_.resize(count);
  warps_.assign((count + 31) / 32, {});
  ready_.clear();
  first_ready_ = 0;
  at_barrier_ = ended_ = 0;
  random_ = Get().seed * 2654435761u + index.x * 40503u + index.y * 9973u + index.z + 1;
  for (int i = 0; i < count; ++i) {
    const auto n = static_cast<unsigned>(i);
    threads_[i].index = {n % block.x, n / block.x % block.y, n / (block.x * block.y)};
    threads_[i].number = i;
    threads_[i].ended = false;
    threads_[i].open.clear();
    threads_[i].groups.clear();
    ready_.push_back(i);
  }
  while (ended_ < count) {
    const int next = NextReady();
    if (next < 0) {
      current_ = nullptr;
      Fail("nothing can go on");
    }
    current_ = &threads_[next];
    if (current_->fiber == nullptr) {
      if (idle_.empty()) idle_.push_back(std::make_unique<Fiber>());
      current_->fiber = std::move(idle_.back());
      idle_.pop_back();
      current_->fiber->Start(&RunThread, this);
    }
    if (!current_->fiber->Resume()) {
      const auto flying = [](const auto& group) { return !group.empty(); };
      if (flying(current_->open) || std::any_of(current_->groups.begin(), current_->groups.end(), flying)) {
        Fail("returned before its copies had landed");
      }
      idle_.push_back(std::move(current_->fiber));
      current_->ended = true;
      ++ended_;
    }
  }
  current_ = nullptr;
}

void BlockRunner::RunThread(void* runner) { (*static_cast<BlockRunner*>(runner)->kernel_)(); }

int BlockRunner::NextReady() {
  if (first_ready_ == ready_.size()) return -1;
  switch (Get().order) {
    case Order::kAscending: {
      const int next = ready_[first_ready_++];
      if (first_ready_ == ready_.size()) {
        ready_.clear();
        first_ready_ = 0;
      }
      return next;
    }
    case Order::kRandom:
      random_ ^= random_ << 13;
      random_ ^= random_ >> 17;
      random_ ^= random_ << 5;
      std::swap(ready_[first_ready_ + random_ % (ready_.size() - first_ready_)], ready_.back());
      break;
    case Order::kDescending:
      break;
  }
  const int next = ready_.back();
  ready_.pop_back();
  return next;
}

void BlockRunner::Wait() { current_->fiber->Yield(); }

void BlockRunner::SyncBlock() {
  if (ended_ > 0) Fail("comes to a barrier that others have left the kernel without");
  if (++at_barrier_ == static_cast<int>(threads_.size())) {
    at_barrier_ = 0;
    // The last one stands in line as well: were it to run on, no order would put another thread first.
    for (const Thread& t : threads_) ready_.push_back(t.number);
  }
  Wait();
}

void BlockRunner::SyncWarp(Collective collective, void* lane) {
  const int number = current_->number, first = number / 32 * 32;
  if (static_cast<size_t>(first) + 32 > threads_.size()) Fail("a collective in a warp of fewer than 32 threads");
  Warp& warp = warps_[number / 32];
  if (warp.arrived > 0 && warp.collective != collective) Fail("two unlike collectives meet in one warp");
  for (int i = first; i < first + 32; ++i) {
    if (threads_[i].ended) Fail("a collective that a returned lane misses");
  }
  warp.collective = collective;
  warp.lanes[number % 32] = lane;
  if (++warp.arrived == 32) {
    warp.arrived = 0;
    if (collective != nullptr) collective(warp.lanes.data());
    for (int i = first; i < first + 32; ++i) ready_.push_back(i);
  }
  Wait();
}

}  // namespace longtake::emulation
