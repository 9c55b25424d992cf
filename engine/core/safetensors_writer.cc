#include <fstream>

#include "absl/strings/str_cat.h"
#include "engine/core/safetensors.h"
#include "engine/core/safetensors_header.h"
#include "nlohmann/json.hpp"

namespace longtake {

absl::Status WriteSafetensors(const std::string& path, const std::map<std::string, HostTensor>& tensors) {
  nlohmann::json header = nlohmann::json::object();
  uint64_t offset = 0;
  for (const auto& [name, t] : tensors) {
    const uint64_t bytes = static_cast<uint64_t>(t.elements()) * SizeOf(t.dtype);
    header[name] = {
        {"dtype", SafetensorsName(t.dtype)}, {"shape", t.shape}, {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  }
  std::string text = header.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  text.append((8 - text.size() % 8) % 8, ' ');  // the format aligns the data to 8 bytes
  const uint64_t length = text.size();
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(&length), 8);
  file.write(text.data(), static_cast<std::streamsize>(text.size()));
  for (const auto& [name, t] : tensors) {
    file.write(static_cast<const char*>(t.data), t.elements() * static_cast<int64_t>(SizeOf(t.dtype)));
  }
  file.close();
  if (!file) return absl::InternalError(absl::StrCat(path, ": cannot be written"));
  return absl::OkStatus();
}

}  // namespace longtake
