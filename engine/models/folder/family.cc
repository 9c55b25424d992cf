#include "engine/models/folder/family.h"

namespace longtake {

std::string FamilyName(Family family) {
  switch (family) {
    case Family::kSanaVideo480p:
      return "sana_video_480p";
    case Family::kSanaVideo720p:
      return "sana_video_720p";
    case Family::kSanaVideo2:
      return "sana_video_2";
    case Family::kLongSana:
      return "longsana";
    case Family::kLongtake:
      return "longtake";
  }
  return {};
}

std::optional<Family> FamilyNamed(std::string_view name) {
  for (const Family family : kFamilies) {
    if (FamilyName(family) == name) return family;
  }
  return std::nullopt;
}

}  // namespace longtake
