// Reads small text files of /proc and /sys. A missing or malformed file gives no value, because a kernel, a sandbox or
// a container may omit any of them.
#ifndef LONGTAKE_ENGINE_CORE_SYSTEM_FILES_H_
#define LONGTAKE_ENGINE_CORE_SYSTEM_FILES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace longtake {

// Returns the text without a final newline.
std::optional<std::string> ReadSystemFile(const std::string& path);

// Returns the first word of the file as a number.
std::optional<uint64_t> ReadSystemNumber(const std::string& path);

// Returns the number that follows `key` and whitespace at the beginning of a line, as in /proc/meminfo, memory.stat and
// /proc/self/limits.
std::optional<uint64_t> NumberBehind(absl::string_view text, absl::string_view key);

// Returns the figure of a /proc/PID/status file in bytes, such as "VmSize:" or "RssAnon:"; 0 if it is not there.
uint64_t StatusBytes(const std::string& status_path, absl::string_view key);

// Parses "0-3,8" to {0, 1, 2, 3, 8}.
std::vector<int> ParseCpuList(absl::string_view text);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_CORE_SYSTEM_FILES_H_
