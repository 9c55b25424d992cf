// The JSON of a safetensors header.
#ifndef LONGTAKE_ENGINE_CORE_SAFETENSORS_ENTRIES_H_
#define LONGTAKE_ENGINE_CORE_SAFETENSORS_ENTRIES_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "engine/core/safetensors_header.h"

namespace longtake {

// Reads the entries of `json`, whose offsets count from the end of the header, behind which the file has `data` bytes.
// Returns what is wrong, or nothing; after an error `entries` is undefined.
//
// The text is read event by event. A tree of it would take 16 times its size: 1.6 GB for 100 MB of brackets, which the
// format allows.
std::string ParseSafetensorsEntries(std::string_view json, uint64_t data, std::map<std::string, TensorEntry>* entries);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_CORE_SAFETENSORS_ENTRIES_H_
