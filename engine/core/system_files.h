// Reading the small text files of /proc and /sys. A file that is missing or odd gives nothing: the kernel, a sandbox or
// a container may leave any of them out.
#ifndef LONGTAKE_ENGINE_CORE_SYSTEM_FILES_H_
#define LONGTAKE_ENGINE_CORE_SYSTEM_FILES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace longtake {

// Without the last newline.
std::optional<std::string> ReadSystemFile(const std::string& path);

// The first word of the file, as a number.
std::optional<uint64_t> ReadSystemNumber(const std::string& path);

// The number behind `key` and blanks at the beginning of a line, as in /proc/meminfo, memory.stat, /proc/self/limits.
std::optional<uint64_t> NumberBehind(absl::string_view text, absl::string_view key);

// "0-3,8" as {0, 1, 2, 3, 8}.
std::vector<int> ParseCpuList(absl::string_view text);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_CORE_SYSTEM_FILES_H_
