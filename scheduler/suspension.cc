// Offline sessions give their places to live requests and get them back.
#include <algorithm>
#include <utility>

#include "scheduler/core.h"

namespace longtake::scheduler {

// The offline session that began last loses least. It stops at the end of its block; until then it counts as one that
// is about to give its place, and its passes go before other offline ones.
// One at a time, and on a device where the load permits the request that waits: on another one the place would go back
// to the session that gave it.
void Core::SuspendForLive(absl::Duration now) {
  if (!device_->can_suspend()) return;
  bool suspending = false;
  for (DeviceState& device : roster_.devices) {
    for (Session* session : device.placed) {
      session->yields = false;
      suspending = suspending || session->state == Session::State::kSuspending;
    }
  }
  if (suspending) return;
  for (const size_t device : admission_.PlaceHolds(now)) {
    Session* last = nullptr;
    for (Session* session : roster_.devices[device].placed) {
      if (session->live() || session->end_why.has_value()) continue;
      if (session->state != Session::State::kRunning || session->keeps_place) continue;
      if (last == nullptr || session->order > last->order) last = session;
    }
    if (last == nullptr) continue;
    last->yields = true;
    if (last->at_rest()) Suspend(*last);
    return;
  }
}

void Core::Suspend(Session& session) {
  session.state = Session::State::kSuspending;
  ++in_flight_;
  device_->Suspend(session.id(), [this, id = session.id()](absl::Status status) {
    loop_->Post([this, id, status = std::move(status)] { OnSuspended(id, status); });
  });
}

void Core::OnSuspended(SessionId id, const absl::Status& status) {
  Session& session = roster_.sessions.at(id);
  session.yields = false;
  if (status.ok()) {
    Unplace(session);
    session.state = Session::State::kSuspended;
    roster_.suspended.push_back(&session);
    admission_.Changed();
  } else {
    session.state = Session::State::kRunning;
    session.keeps_place = true;  // asking again would most likely fail again, and it makes nothing meanwhile
  }
  if (session.end_why.has_value()) ending_.push_back(id);
  if (--in_flight_ == 0 && stopping_) stopped_();
}

void Core::Resume(Session& session, size_t device) {
  std::erase(roster_.suspended, &session);
  Place(session, device);
  session.state = Session::State::kResuming;
  ++in_flight_;
  device_->Resume(session.id(), DeviceId{static_cast<int>(device)}, [this, id = session.id()](absl::Status status) {
    loop_->Post([this, id, status = std::move(status)] { OnResumed(id, status); });
  });
}

void Core::OnResumed(SessionId id, const absl::Status& status) {
  Session& session = roster_.sessions.at(id);
  session.state = Session::State::kRunning;
  if (!status.ok() && !session.end_why.has_value()) session.end_why = status;
  if (session.end_why.has_value()) {
    ending_.push_back(id);
  } else {
    session.Resumed();
    Touch(session, Now());
  }
  if (--in_flight_ == 0 && stopping_) stopped_();
}

}  // namespace longtake::scheduler
