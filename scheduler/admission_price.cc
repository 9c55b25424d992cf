// What a request is promised.
#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "scheduler/admission.h"

namespace longtake::scheduler {
namespace {

absl::Duration Seconds(double seconds) { return absl::Seconds(std::max(0.0, seconds)); }

// The moment at which the n-th of these has ended. Where n is more than there are, each place is taken again for as
// long as the longest that is there now.
double NthEnding(std::vector<double> endings, int64_t n) {
  if (n <= 0 || endings.empty()) return 0;
  std::sort(endings.begin(), endings.end());
  const auto count = static_cast<int64_t>(endings.size());
  return endings[(n - 1) % count] + endings.back() * static_cast<double>((n - 1) / count);
}

}  // namespace

// Seconds until enough places have come back for one more live request to have one on the device.
double Admission::PlaceAt(const Outlook& outlook, absl::Duration now) const {
  const DeviceState& device = roster_.devices[outlook.device];
  // 64 bits: max_waiting may be the largest int, for "any number".
  const int64_t missing = int64_t{WaitingOn(outlook.device, /*live=*/true)} + 1 - FreePlaces(device);
  if (missing <= 0) return 0;
  std::vector<double> last_due, endings;
  for (const Session* other : device.placed) {
    if (Counts(*other)) {
      const Demand needed = other->NeededBy(now, device.costs(), outlook.company, outlook.lanes.back().role);
      last_due.push_back(needed.at + needed.length());
    } else if (!other->live() && can_suspend_) {
      endings.push_back(other->ToNextChunk(device.costs()).seconds / tuning::kLeastShare);
    } else {
      endings.push_back(other->SecondsLeft(device.costs()) / tuning::kLeastShare);
    }
  }
  std::vector<double> done(last_due.size(), 0);
  for (const LaneOutlook& lane : outlook.lanes) {
    const std::vector<double> in_lane = lane.forecast.DoneBy(last_due);
    for (size_t i = 0; i < done.size(); ++i) done[i] = std::max(done[i], in_lane[i]);
  }
  endings.insert(endings.end(), done.begin(), done.end());
  return NthEnding(std::move(endings), missing);
}

Admission::LivePrice Admission::PriceLive(const Session& session, size_t device, absl::Duration now) const {
  const double seconds_left = session.SecondsLeft(roster_.devices[device].costs());
  LivePrice price;
  double length = 0;
  const Outlook alone = Look(device, /*with_waiting=*/false, now);
  if (const auto entrance = StartsAtOnce(session, alone, roster_.live_waiting.size(), now); entrance.has_value()) {
    price.first = entrance->first;
    price.at_once = true;
    length = entrance->demands.back().length();
  } else {
    const Outlook outlook = Look(device, /*with_waiting=*/true, now);
    const std::vector<Demand> later = LaterDemands(session, outlook, now);
    const Entrance at_once = EntranceOf(session, outlook, now);
    length = later.back().length();
    price.first = at_once.first;
    if (limited() && !StartsNow(at_once, outlook)) {
      price.start = EarliestStart(later, outlook);
      price.first = later.back().at;
    }
    price.start = std::max(price.start, PlaceAt(outlook, now));
    if (!roster_.live_waiting.empty()) {
      price.start = std::max(price.start, absl::ToDoubleSeconds(roster_.live_waiting.back()->start_expected - now));
    }
    price.first += price.start;
  }
  price.last = std::max(price.first + length, price.start + seconds_left);
  return price;
}

void Admission::OfferLive(const Session& session, absl::Duration now, Offer& offer) const {
  std::optional<LivePrice> best;
  for (size_t device = 0; device < roster_.devices.size(); ++device) {
    const LivePrice price = PriceLive(session, device, now);
    if (best.has_value() && price.first >= best->first) continue;
    best = price;
    offer.device = device;
    offer.at_once = price.at_once;
  }
  offer.first_chunk = Seconds(best->first);
  offer.quote.start = Seconds(best->start);
  offer.quote.first_chunk = promises_.Promise(offer.first_chunk, !best->at_once);
  offer.quote.last_chunk =
      std::max(offer.quote.first_chunk, Seconds(best->last) + offer.quote.first_chunk - offer.first_chunk);
}

// An estimate: live requests that come later go first.
void Admission::OfferOffline(const Session& session, Offer& offer) const {
  const double share = std::max(tuning::kLeastShare, 1 - LiveLoad()) * static_cast<double>(roster_.devices.size());
  const Costs costs = roster_.devices.front().costs();
  double before = 0;
  int64_t missing = static_cast<int64_t>(roster_.offline_waiting.size()) + 1;
  std::vector<double> endings;
  for (const DeviceState& device : roster_.devices) {
    missing -= std::min(FreePlaces(device), options_.places - options_.live_places - device.offline_placed());
    for (const Session* other : device.placed) {
      if (other->live()) continue;
      before += other->SecondsLeft(costs);
      endings.push_back(before / share);
    }
  }
  for (const auto* queue : {&roster_.suspended, &roster_.offline_waiting}) {
    for (const Session* other : *queue) before += other->SecondsLeft(costs);
  }
  const double margin = block_margin();
  offer.quote.start = Seconds(NthEnding(std::move(endings), missing));
  offer.first_chunk = Seconds((before + session.ToNextChunk(costs).seconds) / share * margin);
  offer.quote.first_chunk = offer.first_chunk;
  offer.quote.last_chunk = Seconds((before + session.SecondsLeft(costs)) / share * margin);
}

Admission::Offer Admission::Price(const Session& session, absl::Duration now) const {
  Offer offer;
  Quote& quote = offer.quote;
  quote.waiting = static_cast<int>(roster_.waiting(session.live()).size());
  quote.confidence = promises_.confidence();
  quote.first_chunk = quote.last_chunk = absl::InfiniteDuration();
  // Devices learn from each other, so that all know their costs or none.
  if (roster_.devices.front().costs().learned()) {
    session.live() ? OfferLive(session, now, offer) : OfferOffline(session, offer);
  }
  Refuse(session, offer);
  return offer;
}

void Admission::Refuse(const Session& session, Offer& offer) const {
  Quote& quote = offer.quote;
  const Request& request = session.request();
  const auto refuse = [&](Refusal refusal, absl::Duration retry_after, std::string why) {
    quote.refusal = refusal;
    quote.status = absl::ResourceExhaustedError(why);
    quote.retry_after = std::clamp(retry_after, tuning::kRetryLeast, tuning::kRetryMost);
  };
  const auto wait = [&] { return absl::StrCat("the wait would be ", absl::FormatDuration(quote.start)); };
  // A request that need not wait only passes through the queue.
  int64_t free = 0, placed = 0;
  for (const DeviceState& device : roster_.devices) {
    if (quote.start <= absl::ZeroDuration()) free += FreePlaces(device);
    placed += static_cast<int64_t>(device.placed.size());
  }
  if (request.accepted_before) return;
  if (quote.waiting >= options_.max_waiting + std::max<int64_t>(0, free)) {
    const bool known = quote.first_chunk < absl::InfiniteDuration();
    refuse(Refusal::kQueueFull, known ? quote.start : tuning::kRetryUnknown,
           absl::StrCat(placed, " of ", options_.places * roster_.devices.size(), " places are taken and ",
                        quote.waiting, " such requests wait, the most that may"));
  } else if (quote.start > options_.max_wait) {
    refuse(Refusal::kLongWait, quote.start - options_.max_wait,
           absl::StrCat(wait(), ", longer than ", absl::FormatDuration(options_.max_wait), "; ", quote.waiting,
                        " requests wait"));
  } else if (quote.start > request.max_wait) {
    refuse(Refusal::kOwnMaxWait, quote.start - request.max_wait,
           absl::StrCat("max_wait: ", wait(), ", longer than ", absl::FormatDuration(request.max_wait)));
  } else if (quote.last_chunk < absl::InfiniteDuration() && quote.last_chunk > request.deadline) {
    refuse(Refusal::kDeadline, quote.last_chunk - request.deadline,
           absl::StrCat("the last chunk would come after ", absl::FormatDuration(quote.last_chunk),
                        ", later than the deadline in ", absl::FormatDuration(request.deadline)));
  }
}

}  // namespace longtake::scheduler
