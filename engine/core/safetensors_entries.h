// Parses the JSON of a safetensors header.
#ifndef LONGTAKE_ENGINE_CORE_SAFETENSORS_ENTRIES_H_
#define LONGTAKE_ENGINE_CORE_SAFETENSORS_ENTRIES_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "engine/core/safetensors_header.h"

namespace longtake {

// Reads the entries of `json`. Their offsets count from the end of the header, which is followed by `data` bytes.
// `metadata`, unless null, receives the strings of `__metadata__`, of together at most kMaxMetadataBytes.
// Returns an error message, or an empty string; after an error `entries` and `metadata` are undefined.
//
// The text is parsed by events. A tree would take 16 times its size: 1.6 GB for 100 MB of brackets, which the format
// allows.
constexpr uint64_t kMaxMetadataBytes = 1 << 20;
std::string ParseSafetensorsEntries(std::string_view json, uint64_t data, std::map<std::string, TensorEntry>* entries,
                                    std::map<std::string, std::string>* metadata = nullptr);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_CORE_SAFETENSORS_ENTRIES_H_
