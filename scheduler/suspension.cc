// Offline sessions give their places to live requests and get them back.
#include <algorithm>
#include <utility>

#include "scheduler/core.h"

namespace longtake::scheduler {

// The offline session that began last loses least. It stops at the end of its block; until then it counts as one that
// is about to give its place, and its passes go before other offline ones.
void Core::SuspendForLive(absl::Duration now) {
  if (!device_->can_suspend()) return;
  int wanted = admission_.PlaceHolds(now) ? 1 : 0;
  for (DeviceState& device : roster_.devices) {
    Session* last = nullptr;
    for (Session* session : device.placed) {
      if (session->live() || session->end_why.has_value()) continue;
      if (session->state == Session::State::kSuspending) --wanted;
      session->yields = false;
      if (session->state != Session::State::kRunning || session->keeps_place) continue;
      if (last == nullptr || session->order > last->order) {
        last = session;
      }
    }
    if (wanted <= 0 || last == nullptr) continue;
    --wanted;
    last->yields = true;
    if (!last->at_rest()) continue;
    last->state = Session::State::kSuspending;
    ++in_flight_;
    device_->Suspend(last->id(), [this, id = last->id()](absl::Status status) {
      loop_->Post([this, id, status = std::move(status)] { OnSuspended(id, status); });
    });
  }
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
    Touch(session, Now());
  }
  if (--in_flight_ == 0 && stopping_) stopped_();
}

}  // namespace longtake::scheduler
