#include "scheduler/core.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "scheduler/slack_policy.h"

namespace longtake::scheduler {

Core::Core(const Options& options, Loop* loop, Device* device, Listener* listener)
    : options_(options),
      policy_(options.policy != nullptr ? options.policy : std::make_shared<SlackPolicy>()),
      loop_(loop),
      device_(device),
      listener_(listener),
      roster_(device->lanes()),
      admission_(&options_, &roster_, device->can_suspend()),
      tenants_(options.tenant_weights) {}

absl::Duration Core::Turn() {
  if (stopping_) return absl::InfiniteDuration();
  const absl::Duration now = Now();
  while (!timers_.empty() && timers_.begin()->first <= now) Touch(roster_.sessions.at(timers_.begin()->second), now);
  WakeSleepers(now);
  Settle();  // before what is there is used
  SuspendForLive(now);
  TellPositions();
  for (const auto& lane : roster_.lanes) SubmitOne(*lane, now);
  absl::Duration next = timers_.empty() ? absl::InfiniteDuration() : timers_.begin()->first;
  for (const auto& lane : roster_.lanes) {
    if (const absl::Duration at = lane->NextBatchAt(); at > now) next = std::min(next, at);
  }
  return next;
}

void Core::Settle() {
  if (stopping_) return;
  const absl::Duration now = Now();
  // Places are freed first, then given away.
  while (EndOne() || AdmitOne(now)) {
  }
}

void Core::Stop(std::function<void()> stopped) {
  stopping_ = true;
  stopped_ = std::move(stopped);
  if (in_flight_ == 0) stopped_();
}

void Core::Touch(Session& session, absl::Duration now) {
  timers_.erase({session.timer, session.id()});
  session.timer = absl::InfiniteDuration();
  if (session.end_why.has_value()) return;
  if (session.state == Session::State::kWaiting) {
    const absl::Duration most = session.request().accepted_before
                                    ? absl::InfiniteDuration()
                                    : std::min(options_.max_wait, session.request().max_wait);
    session.timer = session.arrived + most;
    if (session.timer <= now) {
      return End(session, absl::DeadlineExceededError(
                              absl::StrCat("max_wait: no place was free within ", absl::FormatDuration(most))));
    }
  } else {
    const Costs costs = roster_.devices[session.device].costs();
    const Session::Attention before = session.attention;
    session.Update(now, options_, costs);
    waking_ += (session.attention == Session::Attention::kWaking) - (before == Session::Attention::kWaking);
    if (session.attention != before) admission_.Changed();
    if (const auto since = session.unread_since(); since.has_value() && now - *since >= options_.max_unread) {
      return End(session, absl::DeadlineExceededError(absl::StrCat("the client has read nothing for ",
                                                                   absl::FormatDuration(options_.max_unread))));
    }
    session.timer = session.NextUpdate(now, options_, costs);
  }
  if (session.timer < absl::InfiniteDuration()) timers_.emplace(session.timer, session.id());
}

void Core::WakeSleepers(absl::Duration now) {
  if (waking_ == 0) return;
  for (const DeviceState& device : roster_.devices) {
    for (Session* session : device.placed) {
      if (session->attention != Session::Attention::kWaking || !admission_.MayWake(*session, now)) continue;
      session->attention = Session::Attention::kAwake;
      --waking_;
    }
  }
}

bool Core::EndOne() {
  if (ending_.empty()) return false;
  const SessionId id = ending_.front();
  ending_.pop_front();
  Session& session = roster_.sessions.at(id);
  timers_.erase({session.timer, id});
  waking_ -= session.attention == Session::Attention::kWaking;
  if (session.state != Session::State::kWaiting) device_->Close(id);
  Unplace(session);
  std::erase(roster_.suspended, &session);
  const absl::Status why = *session.end_why;
  admission_.promises().Ended(id, Now(), why.ok());
  tenants_.Remove(session.tenant, session.request().delivery);
  roster_.sessions.erase(id);
  admission_.Changed();
  listener_->OnEnded(id, why);
  return true;
}

bool Core::AdmitOne(absl::Duration now) {
  std::optional<Admission::Start> start = std::exchange(granted_, std::nullopt);
  if (!start.has_value()) start = admission_.Next(now);
  if (!start.has_value()) return false;
  Session& session = *start->session;
  if (session.state == Session::State::kSuspended) {
    Resume(session, start->device);
    return true;
  }
  std::erase(roster_.waiting(session.live()), &session);
  positions_changed_ = true;
  // Who starts earlier than predicted also plays earlier: with the due time of the prediction, whoever is tested next
  // would see a stream that needs nothing for a while, and all who wait would start at once.
  session.first_due = std::min(session.first_due, now + absl::Seconds(start->first));
  if (session.request().made_blocks > 0) {
    session.order = ++admissions_;
    listener_->OnAdmitted(session.id());
    Resume(session, start->device);
    return true;
  }
  if (absl::Status status = device_->Open(session.id(), DeviceId{static_cast<int>(start->device)}); !status.ok()) {
    session.end_why = std::move(status);  // it has no place to close
    ending_.push_back(session.id());
    return true;
  }
  session.order = ++admissions_;
  session.state = Session::State::kRunning;
  Place(session, start->device);
  Touch(session, now);
  listener_->OnAdmitted(session.id());
  return true;
}

void Core::Place(Session& session, size_t device) {
  session.device = device;
  roster_.devices[device].placed.push_back(&session);
}

void Core::Unplace(Session& session) { std::erase(roster_.devices[session.device].placed, &session); }

void Core::End(Session& session, absl::Status why) {
  if (session.end_why.has_value()) return;
  session.end_why = std::move(why);
  switch (session.state) {
    case Session::State::kWaiting:
      std::erase(roster_.waiting(session.live()), &session);
      positions_changed_ = true;
      admission_.Changed();
      ending_.push_back(session.id());
      break;
    case Session::State::kRunning:
      if (!session.in_flight()) ending_.push_back(session.id());
      break;
    case Session::State::kSuspended:
      ending_.push_back(session.id());
      break;
    case Session::State::kSuspending:
    case Session::State::kResuming:
      break;  // OnSuspended and OnResumed see end_why
  }
}

void Core::TellPositions() {
  if (!positions_changed_) return;
  positions_changed_ = false;
  for (const bool live : {true, false}) {
    int position = 0;
    for (Session* session : roster_.waiting(live)) {
      if (session->told_position == ++position) continue;
      session->told_position = position;
      listener_->OnWaiting(session->id(), position);
    }
  }
}

}  // namespace longtake::scheduler
