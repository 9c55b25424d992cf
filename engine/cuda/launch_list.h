// Launches noted down instead of made.
#ifndef LONGTAKE_ENGINE_CUDA_LAUNCH_LIST_H_
#define LONGTAKE_ENGINE_CUDA_LAUNCH_LIST_H_

#include <cstddef>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "cuda_platform.h"

namespace longtake::cuda {

class LaunchList {
 public:
  using Function = std::function<cudaError_t(cudaStream_t)>;
  struct Entry {
    const char* name;
    Function launch;
  };

  // `values`: all that the launch depends on but the contents of memory. No unnamed bytes lie in them
  // (kernels/segments.h); were there some, equal launches could only seem unlike.
  template <typename... V>
  void Add(const char* name, Function launch, const V&... values) {
    static_assert((std::is_trivially_copyable_v<V> && ...));
    entries_.push_back({name, std::move(launch)});
    (identity_.append(reinterpret_cast<const char*>(&values), sizeof values), ...);
  }

  const std::vector<Entry>& entries() const { return entries_; }
  // Of two lists with equal bytes the launches are equal, one after the other.
  const std::string& identity() const { return identity_; }

 private:
  std::vector<Entry> entries_;
  std::string identity_;
};

}  // namespace longtake::cuda

#endif  // LONGTAKE_ENGINE_CUDA_LAUNCH_LIST_H_
