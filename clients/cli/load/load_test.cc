#include "clients/cli/load/load_test.h"

#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace longtake::client {
namespace {

// Ordinary viewers share a few connections, as behind a gateway. A slow one has its own: what it leaves unread fills
// its connection's window, and the others on it would wait.
constexpr size_t kConnections = 4;
constexpr double kRefusedPause =
    1;  // seconds until a refused viewer of a fixed number is followed by another, at least

// When all that has arrived is played; of a viewer whose picture has moved.
double PictureEnds(const Record& record) {
  return absl::ToDoubleSeconds(record.playout.ReachedAt(record.playout.arrived()));
}

double CpuSeconds() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

}  // namespace

LoadTest::LoadTest(LoadPlan plan, Stubs connect, std::function<void(const LoadProgress&)> show)
    : plan_(std::move(plan)), connect_(std::move(connect)), show_(std::move(show)) {
  for (size_t i = 0; i < kConnections; ++i) stubs_.push_back(connect_());
  for (int slot = 0; slot < plan_.viewers; ++slot) crowds_.emplace_back(plan_.mix, plan_.seed * 1'000'003 + slot);
  if (plan_.viewers == 0) visits_ = PoissonVisits(plan_.mix, plan_.rate, plan_.duration, plan_.seed);
}

v1::VideoService::Stub* LoadTest::StubFor(const Visit& visit) {
  if (!visit.slow) return stubs_[entered_ % kConnections].get();
  return stubs_.emplace_back(connect_()).get();
}

nlohmann::json LoadTest::Run() {
  const double cpu = CpuSeconds(), began = timetable_.now();
  for (Visit& visit : visits_) {
    visit.arrives += began;
    timetable_.At(visit.arrives, [this, &visit] { Enter(visit, -1); });
  }
  for (int slot = 0; slot < plan_.viewers; ++slot) Follow(slot, began);
  timetable_.At(began + plan_.duration, [this] {
    closing_ = true;
    if (plan_.viewers > 0) CutAll();
    EndIfDone();
  });
  timetable_.At(0.5, [this] { Sample(); });
  timetable_.Run();
  const MutexLock lock(mutex_);
  return Report(records_, timeline_, {.warm = plan_.warm, .ended = plan_.duration, .cpu_seconds = CpuSeconds() - cpu});
}

void LoadTest::Interrupt() {
  timetable_.At(0, [this] {
    closing_ = true;
    CutAll();
    EndIfDone();
  });
}

void LoadTest::Follow(int slot, double when) {
  timetable_.At(when, [this, slot] {
    if (!closing_) Enter(crowds_[slot].Next(), slot);
  });
}

void LoadTest::Enter(Visit visit, int slot) {
  if (closing_) return;
  v1::VideoService::Stub* const stub = StubFor(visit);
  const uint64_t number = ++entered_;
  visit.arrives = timetable_.now();
  const double patience = visit.patience;
  const bool live = !visit.offline;
  Viewer::Callbacks callbacks;
  callbacks.on_chunk = [this](double at, double seconds, bool stalled) {
    const MutexLock lock(mutex_);
    timeline_.AddVideo(at, seconds);
    if (stalled) timeline_.AddStall(at);
  };
  callbacks.on_done = [this, number] { timetable_.At(0, [this, number] { OnDone(number); }); };
  auto viewer = std::make_unique<Viewer>(std::move(visit), slot, &timetable_, std::move(callbacks));
  viewer->Start(stub);
  there_[number] = std::move(viewer);
  if (!live) return;
  timetable_.At(timetable_.now() + patience, [this, number] {
    const auto found = there_.find(number);
    if (found != there_.end() && found->second->record().first_chunk < 0) found->second->Leave(End::kLeft);
  });
}

void LoadTest::OnDone(uint64_t number) {
  const auto found = there_.find(number);
  Record record = found->second->record();
  there_.erase(found);
  if (record.end == End::kRefused) {
    const MutexLock lock(mutex_);
    timeline_.AddRefusal(record.ended);
  }
  if (record.slot >= 0 && !closing_) {
    double next = record.ended;
    if (record.end == End::kRefused || record.end == End::kFailed) next += std::max(kRefusedPause, record.retry_after);
    // The viewer stays until the picture ends; an offline one takes the file and goes.
    if (!record.visit.offline && record.end == End::kFinished) next = std::max(next, PictureEnds(record));
    Follow(record.slot, next);
  }
  records_.push_back(std::move(record));
  EndIfDone();
}

void LoadTest::CutAll() {
  for (const auto& [number, viewer] : there_) viewer->Leave(End::kCut);
}

void LoadTest::EndIfDone() {
  if (closing_ && there_.empty()) timetable_.Stop();
}

void LoadTest::Sample() {
  const double now = timetable_.now();
  LoadProgress progress{.now = now};
  for (const auto& [number, viewer] : there_) {
    const Record record = viewer->record();
    progress.stalls += record.visit.offline ? 0 : record.playout.stalls();
    if (record.visit.offline) {
      ++progress.offline;
    } else if (record.playout.started()) {
      ++progress.watching;
    } else {
      ++progress.asking;
    }
  }
  for (const Record& record : records_) {
    ++(record.end == End::kRefused ? progress.refused : progress.done);
    if (record.visit.offline) continue;
    progress.stalls += record.playout.stalls();
    progress.watching += record.end == End::kFinished && PictureEnds(record) > now;
  }
  {
    const MutexLock lock(mutex_);
    timeline_.SetWatching(now, progress.watching);
    progress.video = timeline_.Video(static_cast<int>(now) - 1, static_cast<int>(now));
  }
  show_(progress);
  timetable_.At(std::floor(now) + 1.5, [this] { Sample(); });
}

}  // namespace longtake::client
