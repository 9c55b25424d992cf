#include "engine/core/fnv1a.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace longtake {

absl::Status Fnv1a::AddFile(const InputFile& file) {
  Add(absl::StrCat(file.size(), "\n"));
  // Fits into the L2 cache. One MiB was mapped, cleared and unmapped for each file: most of the time of a small one.
  std::vector<char> bytes(64 << 10);
  for (uint64_t at = 0; at < file.size(); at += bytes.size()) {
    const uint64_t n = std::min<uint64_t>(bytes.size(), file.size() - at);
    RETURN_IF_ERROR(file.Read(at, n, bytes.data()));
    Add({bytes.data(), n});
  }
  return absl::OkStatus();
}

absl::Status Fnv1a::AddSampledFile(const InputFile& file) {
  constexpr uint64_t kWhole = 32 << 20, kPage = 4096, kPages = 256;
  const uint64_t size = file.size();
  if (size <= kWhole) return AddFile(file);
  Add(absl::StrCat(size, "\n"));
  std::vector<char> page(kPage);
  for (uint64_t i = 0; i < kPages; ++i) {
    RETURN_IF_ERROR(file.Read((size - kPage) / (kPages - 1) * i, kPage, page.data()));
    Add(page);
  }
  return absl::OkStatus();
}

std::string Fnv1a::hex() const { return absl::StrCat(absl::Hex(hash_, absl::kZeroPad16)); }

}  // namespace longtake
