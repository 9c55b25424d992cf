// longtake.json over the defaults of the family and the sampler that it names.
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "engine/core/json_config.h"
#include "engine/models/folder/folder_contents.h"
#include "engine/models/folder/settings_fields.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/memory_file.h"

namespace longtake {
namespace {

using fuzz::Check;

std::string NameIn(JsonConfig json, const char* field) { return json.String(field, ""); }

// What is read must be the same when it is written and read again.
void CheckRoundTrip(const ModelSettings& settings, fuzz::MemoryFile& file) {
  const std::string text = ToJson(settings).dump();
  file.Write(text);
  const absl::StatusOr<JsonConfig> json = JsonConfig::Load(file.path());
  Check(json.ok(), "settings are written as no JSON");
  ModelSettings again{.family = settings.family, .sampler = settings.sampler};
  Check(OverlayLongtakeJson(*json, &again).ok(), "settings are written so that they are refused");
  Check(ToJson(again).dump() == text, "settings change when they are written and read");
}

}  // namespace
}  // namespace longtake

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace longtake;  // NOLINT(google-build-using-namespace): a function of libFuzzer's stands outside of it
  static fuzz::MemoryFile file;
  file.Write(fuzz::ToText(data, size));
  const absl::StatusOr<JsonConfig> json = JsonConfig::Load(file.path());
  if (!json.ok()) return 0;
  ModelSettings settings;
  settings.family = FamilyNamed(NameIn(*json, "family")).value_or(Family::kLongtake);
  const absl::StatusOr<std::optional<SamplerKind>> by_default = ApplyFamily(settings.family, &settings);
  fuzz::Check(by_default.ok(), "a family has no settings");
  settings.sampler = SamplerNamed(NameIn(*json, "sampler")).value_or(by_default->value_or(SamplerKind::kFewStep));
  if (OverlayLongtakeJson(*json, &settings).ok()) CheckRoundTrip(settings, file);
  return 0;
}
