#include "clients/cli/load/visits.h"

#include <cmath>

#include "absl/strings/str_cat.h"

namespace longtake::client {
namespace {

// Words that the bundled model knows.
constexpr const char* kColours[] = {"red", "orange", "yellow", "green", "blue", "purple", "pink", "white"};
constexpr const char* kThings[] = {"ball", "box", "triangle", "star", "ring"};
constexpr const char* kMoves[] = {"moves left", "moves right", "rises", "falls", "bounces"};
constexpr const char* kPlaces[] = {"meadow", "desert", "sea", "snow"};

}  // namespace

double MeanSeconds(const Mix& mix) {
  if (mix.longest <= mix.shortest) return mix.shortest;
  return (mix.longest - mix.shortest) / std::log(mix.longest / mix.shortest);
}

double Crowd::Uniform() { return static_cast<double>(random_() >> 11) * 0x1p-53; }

double Crowd::NextPause(double rate) { return -std::log1p(-Uniform()) / rate; }

Visit Crowd::Next() {
  const auto pick = [this](const auto& list) { return list[static_cast<size_t>(Uniform() * std::size(list))]; };
  Visit visit;
  visit.seconds = mix_.shortest * std::pow(mix_.longest / mix_.shortest, Uniform());
  visit.offline = Uniform() < mix_.offline;
  const bool impatient = Uniform() < mix_.impatient, slow = Uniform() < mix_.slow;
  if (!visit.offline && impatient) visit.patience = mix_.patience;
  visit.slow = !visit.offline && slow;
  if (!mix_.sizes.empty()) visit.size = pick(mix_.sizes);
  const std::string colour = pick(kColours), thing = pick(kThings), move = pick(kMoves), place = pick(kPlaces);
  visit.prompt = absl::StrCat("a ", colour, " ", thing, " ", move, " above the ", place, " under a blue sky");
  visit.seed = random_() >> 32;
  return visit;
}

std::vector<Visit> PoissonVisits(const Mix& mix, double rate, double duration, uint64_t seed) {
  Crowd crowd(mix, seed);
  std::vector<Visit> visits;
  for (double now = crowd.NextPause(rate); now < duration; now += crowd.NextPause(rate)) {
    visits.push_back(crowd.Next());
    visits.back().arrives = now;
  }
  return visits;
}

}  // namespace longtake::client
