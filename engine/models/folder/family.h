// The model families that a folder can belong to, and the name and default settings of each.
#ifndef LONGTAKE_ENGINE_MODELS_FOLDER_FAMILY_H_
#define LONGTAKE_ENGINE_MODELS_FOLDER_FAMILY_H_

#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace longtake {

enum class Family {
  kSanaVideo480p,  // SANA-Video 2B, bidirectional, Wan 2.1 VAE
  kSanaVideo720p,  // the same transformer with the LTX-2 VAE
  kLongSana,       // SANA-Video 2B 480p distilled to block-causal few-step generation
  kLongtake,       // anything else of this architecture: longtake.json says what differs
};

inline constexpr std::array kFamilies = {Family::kSanaVideo480p, Family::kSanaVideo720p, Family::kLongSana,
                                         Family::kLongtake};

// "sana_video_480p", "sana_video_720p", "longsana", "longtake": as longtake.json's `family` spells it.
std::string FamilyName(Family family);
std::optional<Family> FamilyNamed(std::string_view name);

// families/NAME.json, compiled in: {"settings": fields of longtake.json, "like": a family whose settings come first,
// "sources": where the numbers are from}.
std::string_view FamilyData(Family family);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_FOLDER_FAMILY_H_
