// Private to scheduler/: all sessions, the queues, and the devices with their lanes. Only the loop touches it.
#ifndef LONGTAKE_SCHEDULER_ROSTER_H_
#define LONGTAKE_SCHEDULER_ROSTER_H_

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "scheduler/lane.h"
#include "scheduler/session.h"

namespace longtake::scheduler {

struct DeviceState {
  // Of the transformer's and the decoder's passes; the same lane where the device has only one.
  Lane* transformer = nullptr;
  Lane* decoder = nullptr;
  std::vector<Session*> placed;  // with a place, in order of admission

  Costs costs() const { return {&transformer->cost(), &decoder->cost()}; }
  std::vector<const Lane*> lanes() const {
    return transformer == decoder ? std::vector<const Lane*>{transformer}
                                  : std::vector<const Lane*>{transformer, decoder};
  }
  int offline_placed() const {
    return static_cast<int>(std::count_if(placed.begin(), placed.end(), [](const Session* s) { return !s->live(); }));
  }
};

struct Roster {
  explicit Roster(const std::vector<LaneInfo>& infos);

  std::deque<Session*>& waiting(bool live) { return live ? live_waiting : offline_waiting; }
  const std::deque<Session*>& waiting(bool live) const { return live ? live_waiting : offline_waiting; }
  Session* Find(SessionId id);

  std::map<SessionId, Session> sessions;
  std::deque<Session*> live_waiting, offline_waiting;  // for their first place, oldest first
  std::deque<Session*> suspended;                      // for their next place, oldest first
  std::vector<std::unique_ptr<Lane>> lanes;            // by LaneId
  std::vector<DeviceState> devices;                    // by DeviceId
};

}  // namespace longtake::scheduler

#endif  // LONGTAKE_SCHEDULER_ROSTER_H_
