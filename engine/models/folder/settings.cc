#include "engine/models/folder/settings.h"

#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "engine/models/folder/folder_contents.h"
#include "engine/models/folder/scheduler_config.h"
#include "engine/models/folder/settings_fields.h"

namespace longtake {
namespace {

constexpr std::array<std::pair<SamplerKind, std::string_view>, 5> kSamplers = {
    {{SamplerKind::kFewStep, "few_step"},
     {SamplerKind::kFlowDpmSolver, "flow_dpm_solver"},
     {SamplerKind::kFlowEuler, "flow_euler"},
     {SamplerKind::kFlowUniPc, "flow_unipc"},
     {SamplerKind::kFlowLcm, "flow_lcm"}}};

}  // namespace

std::string SamplerName(SamplerKind sampler) {
  for (const auto& [kind, name] : kSamplers) {
    if (kind == sampler) return std::string(name);
  }
  return {};
}

std::optional<SamplerKind> SamplerNamed(std::string_view name) {
  for (const auto& [kind, known] : kSamplers) {
    if (known == name) return kind;
  }
  return std::nullopt;
}

std::string FirstImageUseName(FirstImageUse use) {
  switch (use) {
    case FirstImageUse::kNone:
      return "none";
    case FirstImageUse::kHeld:
      return "held";
    case FirstImageUse::kPrefix:
      return "prefix";
  }
  return {};
}

std::string ModelSettings::SourceOf(const std::string& folder, const std::string& field) const {
  return overlaid.contains(field) ? absl::StrCat(folder, "/longtake.json: field '", field, "'")
                                  : absl::StrCat(folder, ": family ", FamilyName(family), ": field '", field, "'");
}

absl::StatusOr<ModelSettings> ModelSettings::Load(const std::string& folder) {
  ASSIGN_OR_RETURN(const FolderContents contents, ReadFolderContents(folder));
  ModelSettings s;
  ASSIGN_OR_RETURN(s.family, IdentifyFamily(contents));
  ASSIGN_OR_RETURN(const std::optional<SamplerKind> by_default, ApplyFamily(s.family, &s));
  ASSIGN_OR_RETURN(s.sampler, IdentifySampler(contents, s.family, by_default));
  s.causal = s.sampler == SamplerKind::kFewStep;
  s.first_image = s.causal ? FirstImageUse::kNone : FirstImageUse::kHeld;
  if (!s.causal && contents.scheduler_config) RETURN_IF_ERROR(ReadSchedulerConfig(*contents.scheduler_config, &s));
  if (contents.settings) RETURN_IF_ERROR(OverlayLongtakeJson(*contents.settings, &s));
  return s;
}

}  // namespace longtake
