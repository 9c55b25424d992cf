// Private to scheduler/: what a request is promised, who gets a place and when. README.md, "Admission".
#ifndef LONGTAKE_SCHEDULER_ADMISSION_H_
#define LONGTAKE_SCHEDULER_ADMISSION_H_

#include <limits>
#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "scheduler/forecast.h"
#include "scheduler/options.h"
#include "scheduler/promises.h"
#include "scheduler/quantiles.h"
#include "scheduler/request.h"
#include "scheduler/roster.h"

namespace longtake::scheduler {

// Looks at the roster and changes nothing in it.
class Admission {
 public:
  // `options` and `roster` outlive it. `can_suspend`: offline sessions give their place to live requests.
  Admission(const Options* options, const Roster* roster, bool can_suspend)
      : options_(*options), roster_(*roster), can_suspend_(can_suspend) {}

  // What a request is told, and where and when it is expected to start.
  struct Offer {
    Quote quote;                                            // refused only for want of room
    absl::Duration first_chunk = absl::InfiniteDuration();  // as predicted, without what keeps the promise safe
    size_t device = 0;
    bool at_once = false;  // it is live, and has its place now
  };
  Offer Price(const Session& session, absl::Duration now) const;

  // The next session that may have a place now, and where; of live requests the oldest that fits, of the others those
  // that had a place before, then the oldest.
  struct Start {
    Session* session = nullptr;
    size_t device = 0;
    // Seconds until the first chunk, with which the load was tested just now; infinite where it was not.
    double first = std::numeric_limits<double>::infinity();
  };
  std::optional<Start> Next(absl::Duration now);
  // Something has changed that Next depends on: a session has ended or come, or a batch is done.
  void Changed() { load_holds_ = false; }
  // The oldest live request waits because of the load.
  bool load_holds() const { return load_holds_; }
  // The devices on which the oldest live request waits for nothing but a place; none while one has a place free.
  std::vector<size_t> PlaceHolds(absl::Duration now) const;
  // Whether a sleeping session that wakes can be served without making others late.
  bool MayWake(const Session& session, absl::Duration now) const;

  // Share of the devices that the live sessions with a place need.
  double LiveLoad() const;
  // The same of one lane; may be above 1.
  double LiveLoad(const Lane& lane) const;
  // What may be promised of a second of the lane, in seconds as admission counts them.
  double Capacity(const Lane& lane) const;
  // Live streams that share the lane's batches.
  int Company(const Lane& lane) const;

  Promises& promises() { return promises_; }
  const Promises& promises() const { return promises_; }
  // A block took so many times what was expected; and what to multiply an expected time by to be safe.
  void ObserveBlock(double error) { block_error_.Add(error); }
  double block_margin() const { return std::max(1.0, block_error_.At(tuning::kSafeQuantile, tuning::kUnknownBlock)); }

 private:
  struct LaneOutlook {
    LaneRole role;
    Forecast forecast;
  };
  // A device as one more live stream would find it.
  struct Outlook {
    size_t device = 0;
    int company = 1;  // live streams that share the batches, the newcomer included
    std::vector<LaneOutlook> lanes;
  };
  // When a stream that starts now would have its first chunk, and what it then needs of each lane.
  struct Entrance {
    double alone = 0;             // seconds to the first chunk with the device to itself, at its capacity
    double first = 0;             // from now
    std::vector<Demand> demands;  // by lane of the outlook
  };
  // When a live request starts on a device, from now, and what follows.
  struct LivePrice {
    double start = 0, first = 0, last = 0;
    bool at_once = false;
  };

  bool limited() const { return options_.max_live_load < std::numeric_limits<double>::infinity(); }
  static bool Counts(const Session& session);
  int FreePlaces(const DeviceState& device) const { return options_.places - static_cast<int>(device.placed.size()); }
  int WaitingOn(size_t device, bool live) const;

  Outlook Look(size_t device, bool with_waiting, absl::Duration now) const;
  double Blocking(const DeviceState& device, const Lane& lane, absl::Duration now) const;
  Entrance EntranceOf(const Session& session, const Outlook& outlook, absl::Duration now) const;
  bool StartsNow(const Entrance& entrance, const Outlook& outlook) const;
  // Whether the session could start on the device now, as far as the load is concerned.
  std::optional<Entrance> LoadPermits(const Session& session, const Outlook& outlook, absl::Duration now) const;
  // The same of a live request that waits behind `passed` others, their starts and the places considered.
  std::optional<Entrance> StartsAtOnce(const Session& session, const Outlook& outlook, size_t passed,
                                       absl::Duration now) const;
  // The demands of a session from its start on, if it starts when the device is free for it.
  std::vector<Demand> LaterDemands(const Session& session, const Outlook& outlook, absl::Duration now) const;
  // The least start that makes nobody late.
  static double EarliestStart(const std::vector<Demand>& demands, const Outlook& outlook);
  // On the device with the most places that the session could have; none: there is none.
  std::optional<Start> Emptiest(Session* session) const;
  std::optional<Start> NextLive(absl::Duration now) const;
  // Whether a session that would pass `passed` waiting ones makes one of them start later than it was told.
  bool Delays(const Session& candidate, const Entrance& entrance, const Outlook& outlook, size_t passed,
              absl::Duration now) const;

  LivePrice PriceLive(const Session& session, size_t device, absl::Duration now) const;
  double PlaceAt(const Outlook& outlook, absl::Duration now) const;
  void OfferLive(const Session& session, absl::Duration now, Offer& offer) const;
  void OfferOffline(const Session& session, Offer& offer) const;
  void Refuse(const Session& session, Offer& offer) const;

  const Options& options_;
  const Roster& roster_;
  const bool can_suspend_;
  Promises promises_;
  Quantiles block_error_;
  // The load was found too high for every live request that waits, and nothing has changed since.
  bool load_holds_ = false;
};

}  // namespace longtake::scheduler

#endif  // LONGTAKE_SCHEDULER_ADMISSION_H_
