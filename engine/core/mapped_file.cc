#include "engine/core/mapped_file.h"

#include <sys/mman.h>

#include <cerrno>

#include "absl/strings/str_cat.h"

namespace longtake {

absl::StatusOr<std::shared_ptr<const MappedFile>> MappedFile::Map(const InputFile& file) {
  if (file.size() == 0) return absl::InvalidArgumentError(absl::StrCat(file.path(), ": is empty"));
  void* const data = mmap(nullptr, file.size(), PROT_READ, MAP_SHARED, file.descriptor(), 0);
  if (data == MAP_FAILED) return absl::ErrnoToStatus(errno, absl::StrCat(file.path(), ": cannot be mapped"));
  madvise(data, file.size(), MADV_WILLNEED);  // advisory
  return std::shared_ptr<const MappedFile>(new MappedFile({static_cast<const std::byte*>(data), file.size()}));
}

MappedFile::~MappedFile() { munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size()); }

}  // namespace longtake
