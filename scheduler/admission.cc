// Who gets a place and when.
#include "scheduler/admission.h"

#include <algorithm>
#include <cmath>

namespace longtake::scheduler {

bool Admission::Counts(const Session& session) {
  return session.live() && session.attention == Session::Attention::kAwake && !session.end_why.has_value() &&
         !session.done();
}

double Admission::Capacity(const Lane& lane) const {
  if (!limited()) return 1;
  const double share = std::min(options_.max_live_load, 1 - tuning::kTurnShare);
  return std::max(tuning::kLeastShare, share / lane.LoadError());
}

int Admission::Company(const Lane& lane) const {
  const DeviceState& device = roster_.devices[Index(lane.info().device)];
  return static_cast<int>(std::count_if(device.placed.begin(), device.placed.end(),
                                        [](const Session* session) { return Counts(*session); }));
}

double Admission::LiveLoad(const Lane& lane) const {
  const DeviceState& device = roster_.devices[Index(lane.info().device)];
  const int company = Company(lane);
  double load = 0;
  for (const Session* session : device.placed) {
    if (Counts(*session)) load += session->NeededLoad(device.costs(), company, lane.info().role);
  }
  return load;
}

double Admission::LiveLoad() const {
  double sum = 0;
  for (const DeviceState& device : roster_.devices) {
    double busiest = 0;
    for (const Lane* lane : device.lanes()) busiest = std::max(busiest, LiveLoad(*lane));
    sum += busiest;
  }
  return sum / static_cast<double>(roster_.devices.size());
}

int Admission::WaitingOn(size_t device, bool live) const {
  const auto& queue = roster_.waiting(live);
  return static_cast<int>(
      std::count_if(queue.begin(), queue.end(), [&](const Session* session) { return session->device == device; }));
}

// Nothing interrupts a batch: a pass that is due may find the lane taken by what is under way, or by a later batch's
// longest pass.
double Admission::Blocking(const DeviceState& device, const Lane& lane, absl::Duration now) const {
  double longest = lane.Remaining(now);
  for (const Session* session : device.placed) {
    if (session->end_why.has_value() || session->done() || session->attention == Session::Attention::kAsleep) continue;
    longest = std::max(longest, session->LongestPass(device.costs(), lane.info().role));
  }
  return longest;
}

Admission::Outlook Admission::Look(size_t device, bool with_waiting, absl::Duration now) const {
  const DeviceState& state = roster_.devices[device];
  std::vector<const Session*> others;
  for (const Session* session : state.placed) {
    if (Counts(*session)) others.push_back(session);
  }
  if (with_waiting) {
    for (const Session* session : roster_.live_waiting) {
      if (session->device == device) others.push_back(session);
    }
  }
  Outlook outlook{.device = device, .company = static_cast<int>(others.size()) + 1};
  for (const Lane* lane : state.lanes()) {
    const LaneRole role = lane->info().role;
    Forecast forecast(Capacity(*lane), outlook.company);
    for (const Session* session : others) {
      forecast.Add(session->NeededBy(now, state.costs(), outlook.company, role));
    }
    forecast.Add({.work = Blocking(state, *lane, now)});
    forecast.Sort();
    outlook.lanes.push_back({role, std::move(forecast)});
  }
  return outlook;
}

Admission::Entrance Admission::EntranceOf(const Session& session, const Outlook& outlook, absl::Duration now) const {
  const Costs costs = roster_.devices[outlook.device].costs();
  Entrance entrance;
  // Who starts shares no batches yet.
  double decode = 0;
  for (const LaneOutlook& lane : outlook.lanes) {
    const double alone = session.ToNextChunk(costs, 1, lane.role).seconds;
    entrance.alone += alone / lane.forecast.capacity();
    if (lane.role == LaneRole::kDecoder) decode = alone;
    // The decoder's part comes after the transformer's.
    const double after = lane.role == LaneRole::kDecoder ? alone : 0;
    entrance.first = std::max(entrance.first + after, lane.forecast.FirstChunk(alone));
  }
  for (const LaneOutlook& lane : outlook.lanes) {
    Demand& demand = entrance.demands.emplace_back(session.NeededBy(now, costs, outlook.company, lane.role));
    demand.at = entrance.first - (lane.role == LaneRole::kTransformer ? decode : 0);
  }
  return entrance;
}

bool Admission::StartsNow(const Entrance& entrance, const Outlook& outlook) const {
  if (entrance.first > tuning::kLatestStart * entrance.alone) return false;
  for (size_t i = 0; i < outlook.lanes.size(); ++i) {
    if (!outlook.lanes[i].forecast.Fits(entrance.demands[i], 0)) return false;
  }
  return true;
}

std::optional<Admission::Entrance> Admission::LoadPermits(const Session& session, const Outlook& outlook,
                                                          absl::Duration now) const {
  const DeviceState& device = roster_.devices[outlook.device];
  Entrance entrance = EntranceOf(session, outlook, now);
  const bool first = std::none_of(device.placed.begin(), device.placed.end(),
                                  [&](const Session* other) { return other != &session && Counts(*other); });
  if (!device.costs().learned() || !limited() || first || StartsNow(entrance, outlook)) return entrance;
  return std::nullopt;
}

std::vector<Demand> Admission::LaterDemands(const Session& session, const Outlook& outlook, absl::Duration now) const {
  const Costs costs = roster_.devices[outlook.device].costs();
  std::vector<Demand> demands;
  double at = 0;
  for (const LaneOutlook& lane : outlook.lanes) {
    at += session.ToNextChunk(costs, 1, lane.role).seconds / lane.forecast.capacity();
    demands.push_back(session.NeededBy(now, costs, outlook.company, lane.role));
    demands.back().at = at;
  }
  return demands;
}

double Admission::EarliestStart(const std::vector<Demand>& demands, const Outlook& outlook) {
  double start = 0;
  for (size_t i = 0; i < demands.size(); ++i) {
    start = std::max(start, outlook.lanes[i].forecast.EarliestStart(demands[i]));
  }
  return start;
}

bool Admission::Delays(const Session& candidate, const Entrance& entrance, const Outlook& outlook, size_t passed,
                       absl::Duration now) const {
  Outlook with = outlook;
  for (size_t lane = 0; lane < with.lanes.size(); ++lane) {
    with.lanes[lane].forecast.Add(entrance.demands[lane]);
    with.lanes[lane].forecast.Sort();
  }
  const DeviceState& device = roster_.devices[outlook.device];
  const double ends = std::max(entrance.first + entrance.demands.back().length(),
                               candidate.SecondsLeft(device.costs()) / tuning::kLeastShare);
  const bool place_is_spare = FreePlaces(device) > static_cast<int>(passed);
  for (size_t i = 0; i < passed; ++i) {
    const Session& waiting = *roster_.live_waiting[i];
    const std::vector<Demand> demands = LaterDemands(waiting, outlook, now);
    // It may still start when it was told that it would, if that is later than it could now.
    const double told = absl::ToDoubleSeconds(waiting.start_expected - now);
    const double start = std::max(EarliestStart(demands, outlook), told);
    if (!place_is_spare && ends > start) return true;
    for (size_t lane = 0; lane < demands.size(); ++lane) {
      if (!with.lanes[lane].forecast.Fits(demands[lane], start)) return true;
    }
  }
  return false;
}

std::optional<Admission::Entrance> Admission::StartsAtOnce(const Session& session, const Outlook& outlook,
                                                           size_t passed, absl::Duration now) const {
  // Without a limit of the load the oldest always fits, so there is nobody to pass.
  if (passed >= (limited() ? tuning::kBackfillDepth : 1) || FreePlaces(roster_.devices[outlook.device]) <= 0) {
    return std::nullopt;
  }
  std::optional<Entrance> entrance = LoadPermits(session, outlook, now);
  if (entrance.has_value() && passed > 0 && Delays(session, *entrance, outlook, passed, now)) return std::nullopt;
  return entrance;
}

std::optional<Admission::Start> Admission::Emptiest(Session* session) const {
  std::optional<Start> emptiest;
  int most = 0;
  for (size_t i = 0; i < roster_.devices.size(); ++i) {
    const DeviceState& device = roster_.devices[i];
    const int free = session->live() ? FreePlaces(device)
                                     : std::min(FreePlaces(device),
                                                options_.places - options_.live_places - device.offline_placed());
    if (free <= most) continue;
    most = free;
    emptiest = Start{session, i};
  }
  return emptiest;
}

std::optional<Admission::Start> Admission::NextLive(absl::Duration now) const {
  if (!limited() || !roster_.devices.front().costs().learned()) return Emptiest(roster_.live_waiting.front());
  std::vector<Outlook> outlooks;
  for (size_t device = 0; device < roster_.devices.size(); ++device) {
    if (FreePlaces(roster_.devices[device]) > 0) outlooks.push_back(Look(device, /*with_waiting=*/false, now));
  }
  const size_t depth = std::min(roster_.live_waiting.size(), tuning::kBackfillDepth);
  for (size_t i = 0; i < depth; ++i) {
    Session* const session = roster_.live_waiting[i];
    std::optional<Start> best;
    for (const Outlook& outlook : outlooks) {
      const std::optional<Entrance> entrance = StartsAtOnce(*session, outlook, i, now);
      if (!entrance.has_value() || (best.has_value() && entrance->first >= best->first)) continue;
      best = Start{session, outlook.device, entrance->first};
    }
    if (best.has_value()) return best;
  }
  return std::nullopt;
}

std::optional<Admission::Start> Admission::Next(absl::Duration now) {
  if (!roster_.live_waiting.empty() && !load_holds_ &&
      std::any_of(roster_.devices.begin(), roster_.devices.end(),
                  [&](const DeviceState& device) { return FreePlaces(device) > 0; })) {
    if (std::optional<Start> start = NextLive(now)) return start;
    load_holds_ = true;
  }
  const std::deque<Session*>& others = roster_.suspended.empty() ? roster_.offline_waiting : roster_.suspended;
  // While a live request waits for a place, offline ones get none: it would only be taken back.
  if (others.empty() || (can_suspend_ && !PlaceHolds(now).empty())) return std::nullopt;
  return Emptiest(others.front());
}

std::vector<size_t> Admission::PlaceHolds(absl::Duration now) const {
  if (roster_.live_waiting.empty()) return {};
  const Session& oldest = *roster_.live_waiting.front();
  std::vector<size_t> permitting;
  for (size_t device = 0; device < roster_.devices.size(); ++device) {
    if (FreePlaces(roster_.devices[device]) > 0) return {};
    if (LoadPermits(oldest, Look(device, /*with_waiting=*/false, now), now).has_value()) permitting.push_back(device);
  }
  return permitting;
}

bool Admission::MayWake(const Session& session, absl::Duration now) const {
  return LoadPermits(session, Look(session.device, /*with_waiting=*/false, now), now).has_value();
}

}  // namespace longtake::scheduler
