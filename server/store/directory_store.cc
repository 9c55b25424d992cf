#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <random>
#include <set>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/mutex.h"
#include "common/status_macros.h"
#include "common/thread.h"
#include "server/store/files.h"
#include "server/store/names.h"
#include "server/store/store.h"

namespace longtake::server {
namespace {

namespace fs = std::filesystem;

// Locked as long as the store is open.
constexpr char kLock[] = "lock";

// What a process left in a shared store has been left for good after so long.
constexpr auto kLeft = std::chrono::hours(1);

// Removes what an earlier process has left without a name of its own. In a shared store it may be another server's that
// works; there writers clear their own, and what is left are the remains of a removal.
absl::Status SweepUnfinished(const std::string& directory, Sharing sharing) {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::recursive_directory_iterator at(directory, error), end; !error && at != end; at.increment(error)) {
    if (!absl::EndsWith(at->path().native(), kUnfinished)) continue;
    at.disable_recursion_pending();
    if (sharing == Sharing::kShared) {
      if (absl::StartsWith(at->path().filename().native(), kWriter)) continue;
      std::error_code gone;
      const auto written = fs::last_write_time(at->path(), gone);
      if (gone || written > fs::file_time_type::clock::now() - kLeft) continue;
    }
    found.push_back(at->path());
  }
  if (sharing == Sharing::kShared && error == std::errc::no_such_file_or_directory) error.clear();  // another's removal
  for (const fs::path& path : found) {
    if (!error) fs::remove_all(path, error);
  }
  return error ? SystemError(error, "cannot sweep", directory) : absl::OkStatus();
}

// One thread carries out what is asked. It takes all that has come meanwhile at once: their files are written, then all
// of them are synced, so that the disk sees them together, and then they get their names.
class DirectoryStore : public Store {
 public:
  DirectoryStore(std::string root, Descriptor lock, Sharing sharing)
      : root_(std::move(root)), lock_(std::move(lock)), sharing_(sharing), next_(std::random_device()()) {}
  ~DirectoryStore() override {
    {
      const MutexLock lock(mutex_);
      stopping_ = true;
    }
    posted_.NotifyOne();
    if (thread_.joinable()) thread_.join();
  }
  absl::Status Start() {
    ASSIGN_OR_RETURN(thread_, StartThread("the store's thread", [this] { Run(); }));
    return absl::OkStatus();
  }

  void Fence(const std::string& folder, uint64_t token, Done done) override {
    Post({.kind = Job::Kind::kFence,
          .name = folder,
          .token = token,
          .status = CheckName(folder),
          .done = std::move(done)});
  }

  void Put(std::vector<StoredFile> files, uint64_t token, Done done) override {
    Job job{.kind = Job::Kind::kPut, .token = token, .done = std::move(done)};
    if (sharing_ == Sharing::kShared && token == 0) {
      job.status = absl::InvalidArgumentError("store: who writes into a shared store needs a token");
    }
    for (const StoredFile& file : files) {
      if (job.status.ok()) job.status = CheckName(file.name);
    }
    job.files = std::move(files);
    Post(std::move(job));
  }

  void Remove(const std::string& name, uint64_t token, Done done) override {
    Post(
        {.kind = Job::Kind::kRemove, .name = name, .token = token, .status = CheckName(name), .done = std::move(done)});
  }

  void AwaitIdle() override {
    MutexLock lock(mutex_);
    idle_.Wait(lock, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return jobs_.empty() && !busy_; });
  }

  absl::StatusOr<std::string> Get(const std::string& name) const override {
    RETURN_IF_ERROR(CheckName(name));
    absl::StatusOr<std::string> bytes = ReadAll(Path(name));
    if (absl::IsNotFound(bytes.status())) RETURN_IF_ERROR(CheckThere());
    return bytes;
  }

  absl::StatusOr<std::vector<std::string>> List(const std::string& folder) const override {
    RETURN_IF_ERROR(CheckName(folder));
    const std::string path = Path(folder);
    std::vector<std::string> names;
    std::error_code error;
    for (fs::directory_iterator at(path, error), end; !error && at != end; at.increment(error)) {
      std::string name = at->path().filename();
      if (!absl::EndsWith(name, kUnfinished)) names.push_back(std::move(name));
    }
    if (error == std::errc::no_such_file_or_directory) {
      RETURN_IF_ERROR(CheckThere());
      return names;
    }
    if (error) return SystemError(error, "cannot list", path);
    std::sort(names.begin(), names.end());
    return names;
  }

 private:
  // A file that is being written.
  struct Unfinished {
    std::string path, target;
    Descriptor descriptor;
  };
  struct Job {
    enum class Kind { kPut, kRemove, kFence };
    Kind kind = Kind::kPut;
    std::vector<StoredFile> files;  // of a Put
    std::string name;               // of the others
    uint64_t token = 0;
    absl::Status status;
    Done done;
    std::vector<Unfinished> unfinished;
  };

  std::string Path(const std::string& name) const { return absl::StrCat(root_, "/", name); }

  // Unavailable: at the directory's path there is not the one that was opened. One that was moved, or whose file system
  // has gone, would else look like a store without videos, and like one whose videos other servers write now.
  absl::Status CheckThere() const {
    struct stat opened = {}, there = {};
    if (fstat(lock_.get(), &opened) == 0 && stat(Path(kLock).c_str(), &there) == 0 && opened.st_dev == there.st_dev &&
        opened.st_ino == there.st_ino) {
      return absl::OkStatus();
    }
    return absl::UnavailableError(
        absl::StrCat("store: ", root_, " is not the directory that was opened: was it moved, or is it not mounted?"));
  }
  // Of a writer: what is not there any more was taken from it, if the store is there.
  absl::Status AsWriter(const absl::Status& status, const std::string& folder) const {
    if (!absl::IsNotFound(status)) return status;
    RETURN_IF_ERROR(CheckThere());
    return Fenced(folder);
  }

  void Post(Job job) {
    {
      const MutexLock lock(mutex_);
      jobs_.push_back(std::move(job));
    }
    posted_.NotifyOne();
  }

  void Run() {
    while (true) {
      std::deque<Job> jobs;
      {
        MutexLock lock(mutex_);
        busy_ = false;
        if (jobs_.empty()) idle_.NotifyAll();
        posted_.Wait(lock, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stopping_ || !jobs_.empty(); });
        if (jobs_.empty()) return;
        busy_ = true;
        // Files that are put one after the other. Anything else stands between what comes before it and behind it.
        do {
          jobs.push_back(std::move(jobs_.front()));
          jobs_.pop_front();
        } while (!jobs_.empty() && jobs_.front().kind == Job::Kind::kPut && jobs.back().kind == Job::Kind::kPut &&
                 jobs.size() < kTogether);
      }
      Job& first = jobs.front();
      if (first.kind == Job::Kind::kPut) {
        PutAll(jobs);
      } else if (first.status.ok()) {
        first.status = first.kind == Job::Kind::kFence ? FenceNow(Path(first.name), first.token)
                                                       : RemoveNow(Path(first.name), first.token);
      }
      for (Job& job : jobs) job.done(job.status);
    }
  }

  void PutAll(std::deque<Job>& jobs) {
    for (Job& job : jobs) {
      if (job.status.ok()) job.status = WriteUnfinished(job);
    }
    std::set<std::string> folders;  // whose entries change
    for (Job& job : jobs) {
      for (const Unfinished& file : job.unfinished) {
        if (job.status.ok() && fdatasync(file.descriptor.get()) != 0)
          job.status = SystemError("cannot sync", file.path);
      }
      for (const Unfinished& file : job.unfinished) {
        if (job.status.ok() && rename(file.path.c_str(), file.target.c_str()) != 0) {
          job.status = SystemError("cannot name", file.target);
          if (job.token != 0) job.status = AsWriter(job.status, FolderOf(file.target));
        }
        if (!job.status.ok()) unlink(file.path.c_str());
        folders.insert(FolderOf(file.target));
      }
      job.unfinished.clear();
    }
    for (const std::string& folder : folders) {
      const absl::Status synced = SyncFolder(folder);
      if (synced.ok()) continue;
      for (Job& job : jobs) job.status.Update(synced);
    }
  }

  absl::Status WriteUnfinished(Job& job) {
    for (const StoredFile& file : job.files) {
      const std::string target = Path(file.name), folder = FolderOf(target);
      // A writer does not make the folder again that was removed.
      if (job.token == 0) RETURN_IF_ERROR(MakeFolder(folder));
      // Two jobs may have the same file.
      const std::string path = job.token == 0 ? absl::StrCat(target, ".", ++next_, kUnfinished)
                                              : absl::StrCat(WriterFolder(folder, job.token), "/", ++next_);
      absl::StatusOr<Descriptor> opened = Open(path, O_WRONLY | O_CREAT | O_TRUNC);
      if (!opened.ok()) return job.token == 0 ? opened.status() : AsWriter(opened.status(), folder);
      job.unfinished.push_back({path, target, *std::move(opened)});
      const int fd = job.unfinished.back().descriptor.get();
      RETURN_IF_ERROR(WriteAll(fd, file.bytes, target));
      // The disk begins now, so that the syncs behind the last file wait for all of them together.
      sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    }
    return absl::OkStatus();
  }

  // With those above it. A new folder's entry is synced at once: it is one in a video.
  absl::Status MakeFolder(const std::string& folder) {
    if (folder == root_) return CheckThere();
    if (access(folder.c_str(), F_OK) == 0) return absl::OkStatus();
    RETURN_IF_ERROR(MakeFolder(FolderOf(folder)));
    if (mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) return SystemError("cannot make", folder);
    return SyncFolder(FolderOf(folder));
  }

  // First it loses its name, at once and for good: a half removed video would be taken for one to go on with.
  absl::Status RemoveNow(const std::string& path, uint64_t token) {
    const std::string folder = FolderOf(path);
    const std::string nameless = token == 0 ? absl::StrCat(path, ".", ++next_, kUnfinished)
                                            : absl::StrCat(WriterFolder(folder, token), "/", ++next_);
    if (rename(path.c_str(), nameless.c_str()) != 0) {
      if (errno != ENOENT) return SystemError("cannot remove", path);
      RETURN_IF_ERROR(CheckThere());
      const bool writes = token == 0 || access(FolderOf(nameless).c_str(), F_OK) == 0;
      return writes ? absl::OkStatus() : Fenced(folder);
    }
    RETURN_IF_ERROR(SyncFolder(folder));
    return RemoveTree(nameless);
  }

  absl::Status FenceNow(const std::string& folder, uint64_t token) {
    RETURN_IF_ERROR(MakeFolder(folder));
    return FenceFolder(folder, token);
  }

  // Each holds its files open until they are synced.
  static constexpr size_t kTogether = 32;

  const std::string root_;
  const Descriptor lock_;  // held as long as it is open
  const Sharing sharing_;
  Mutex mutex_;
  ConditionVariable posted_;  // or stopping
  ConditionVariable idle_;
  bool busy_ ABSL_GUARDED_BY(mutex_) = false;  // carries out what it has taken
  std::deque<Job> jobs_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t next_;  // number of what has no name of its own; of the thread's
  std::thread thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> OpenDirectoryStore(const std::string& directory, Sharing sharing) {
  if (directory.empty()) return absl::InvalidArgumentError("store: no directory is named");
  if (mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) return SystemError("cannot make", directory);
  const std::string lock_path = absl::StrCat(directory, "/", kLock);
  ASSIGN_OR_RETURN(Descriptor lock, Open(lock_path, O_RDWR | O_CREAT));
  if (flock(lock.get(), (sharing == Sharing::kAlone ? LOCK_EX : LOCK_SH) | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return SystemError("cannot lock", lock_path);
    return absl::FailedPreconditionError(
        absl::StrCat("store: ", directory,
                     sharing == Sharing::kAlone ? " is used by another server" : " is used by a server alone"));
  }
  RETURN_IF_ERROR(SweepUnfinished(directory, sharing));
  auto store = std::make_unique<DirectoryStore>(directory, std::move(lock), sharing);
  RETURN_IF_ERROR(store->Start());
  return store;
}

}  // namespace longtake::server
