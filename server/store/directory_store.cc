#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <set>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "common/mutex.h"
#include "common/status_macros.h"
#include "common/thread.h"
#include "server/store/store.h"

namespace longtake::server {
namespace {

namespace fs = std::filesystem;

// Of what is being written or removed. Names of the store's users do not end so.
constexpr char kUnfinished[] = ".unfinished";

absl::Status SystemError(std::error_code error, const std::string& what, const std::string& path) {
  const std::string message = absl::StrCat("store: ", what, " ", path, ": ", error.message());
  switch (error.value()) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      return absl::ResourceExhaustedError(message);
    case ENOENT:
      return absl::NotFoundError(message);
    default:
      return absl::UnavailableError(message);
  }
}

// What errno says of this path.
absl::Status SystemError(const std::string& what, const std::string& path) {
  return SystemError({errno, std::generic_category()}, what, path);
}

absl::Status CheckName(const std::string& name) {
  for (const absl::string_view part : absl::StrSplit(name, '/')) {
    const bool fit = !part.empty() && part != "." && part != ".." && std::all_of(part.begin(), part.end(), [](char c) {
      return absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '-';
    });
    if (!fit) return absl::InvalidArgumentError(absl::StrCat("store: \"", name, "\" is no name of a file"));
  }
  return absl::OkStatus();
}

std::string FolderOf(const std::string& path) { return path.substr(0, path.rfind('/')); }

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

absl::StatusOr<Descriptor> Open(const std::string& path, int flags) {
  Descriptor file(open(path.c_str(), flags | O_CLOEXEC, 0600));
  if (file.get() < 0) return SystemError("cannot open", path);
  return file;
}

absl::Status WriteAll(int fd, const std::string& bytes, const std::string& path) {
  for (size_t written = 0; written < bytes.size();) {
    const ssize_t n = write(fd, bytes.data() + written, bytes.size() - written);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return SystemError("cannot write", path);
    written += static_cast<size_t>(n);
  }
  return absl::OkStatus();
}

absl::Status SyncFolder(const std::string& folder) {
  ASSIGN_OR_RETURN(const Descriptor file, Open(folder, O_RDONLY | O_DIRECTORY));
  if (fsync(file.get()) != 0) return SystemError("cannot sync", folder);
  return absl::OkStatus();
}

// Removes what an earlier process has left without a name of its own.
absl::Status SweepUnfinished(const std::string& directory) {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::recursive_directory_iterator at(directory, error), end; !error && at != end; at.increment(error)) {
    if (!absl::EndsWith(at->path().native(), kUnfinished)) continue;
    at.disable_recursion_pending();
    found.push_back(at->path());
  }
  for (const fs::path& path : found) {
    if (!error) fs::remove_all(path, error);
  }
  return error ? SystemError(error, "cannot sweep", directory) : absl::OkStatus();
}

// One thread carries out what is asked. It takes all that has come meanwhile at once: their files are written, then all
// of them are synced, so that the disk sees them together, and then they get their names.
class DirectoryStore : public Store {
 public:
  DirectoryStore(std::string root, Descriptor lock) : root_(std::move(root)), lock_(std::move(lock)) {}
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

  void Put(std::vector<StoredFile> files, Done done) override {
    Job job{.done = std::move(done)};
    for (const StoredFile& file : files) {
      if (job.status.ok()) job.status = CheckName(file.name);
    }
    job.files = std::move(files);
    Post(std::move(job));
  }

  void Remove(const std::string& name, Done done) override {
    Post({.remove = name, .status = CheckName(name), .done = std::move(done)});
  }

  void AwaitIdle() override {
    MutexLock lock(mutex_);
    idle_.Wait(lock, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return jobs_.empty() && !busy_; });
  }

  absl::StatusOr<std::string> Get(const std::string& name) const override {
    RETURN_IF_ERROR(CheckName(name));
    const std::string path = Path(name);
    ASSIGN_OR_RETURN(const Descriptor file, Open(path, O_RDONLY));
    struct stat info {};
    if (fstat(file.get(), &info) != 0) return SystemError("cannot read", path);
    std::string bytes(static_cast<size_t>(info.st_size), '\0');
    for (size_t at = 0; at < bytes.size();) {
      const ssize_t n = read(file.get(), bytes.data() + at, bytes.size() - at);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return SystemError("cannot read", path);
      if (n == 0) return absl::UnavailableError(absl::StrCat("store: ", path, " became shorter while it was read"));
      at += static_cast<size_t>(n);
    }
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
    if (error == std::errc::no_such_file_or_directory) return names;
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
  // A Put, or a Remove where `remove` is not empty.
  struct Job {
    std::vector<StoredFile> files;
    std::string remove;
    absl::Status status;
    Done done;
    std::vector<Unfinished> unfinished;
  };

  std::string Path(const std::string& name) const { return absl::StrCat(root_, "/", name); }

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
        // Up to a Remove, which stands between what was put before it and behind it.
        do {
          jobs.push_back(std::move(jobs_.front()));
          jobs_.pop_front();
        } while (!jobs_.empty() && jobs_.front().remove.empty() && jobs.back().remove.empty() &&
                 jobs.size() < kTogether);
      }
      if (!jobs.front().remove.empty()) {
        Job& job = jobs.front();
        if (job.status.ok()) job.status = RemoveAll(Path(job.remove), absl::StrCat(".", ++written_, kUnfinished));
      } else {
        PutAll(jobs);
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
      const std::string target = Path(file.name);
      RETURN_IF_ERROR(MakeFolder(FolderOf(target)));
      // Two jobs may have the same file.
      const std::string path = absl::StrCat(target, ".", ++written_, kUnfinished);
      ASSIGN_OR_RETURN(Descriptor descriptor, Open(path, O_WRONLY | O_CREAT | O_TRUNC));
      job.unfinished.push_back({path, target, std::move(descriptor)});
      const int fd = job.unfinished.back().descriptor.get();
      RETURN_IF_ERROR(WriteAll(fd, file.bytes, target));
      // The disk begins now, so that the syncs behind the last file wait for all of them together.
      sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    }
    return absl::OkStatus();
  }

  // With those above it. A new folder's entry is synced at once: it is one in a video.
  absl::Status MakeFolder(const std::string& folder) {
    if (folder == root_ || access(folder.c_str(), F_OK) == 0) return absl::OkStatus();
    RETURN_IF_ERROR(MakeFolder(FolderOf(folder)));
    if (mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) return SystemError("cannot make", folder);
    return SyncFolder(FolderOf(folder));
  }

  // First it loses its name, at once and for good: a half removed video would be taken for one to go on with.
  static absl::Status RemoveAll(const std::string& path, const std::string& suffix) {
    const std::string nameless = path + suffix;
    if (rename(path.c_str(), nameless.c_str()) != 0) {
      return errno == ENOENT ? absl::OkStatus() : SystemError("cannot remove", path);
    }
    RETURN_IF_ERROR(SyncFolder(FolderOf(path)));
    std::error_code error;
    fs::remove_all(nameless, error);
    return error ? SystemError(error, "cannot remove", path) : absl::OkStatus();
  }

  // Each holds its files open until they are synced.
  static constexpr size_t kTogether = 32;

  const std::string root_;
  const Descriptor lock_;  // held as long as it is open
  Mutex mutex_;
  ConditionVariable posted_;  // or stopping
  ConditionVariable idle_;
  bool busy_ ABSL_GUARDED_BY(mutex_) = false;  // carries out what it has taken
  std::deque<Job> jobs_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t written_ = 0;  // files, by the thread
  std::thread thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> OpenDirectoryStore(const std::string& directory) {
  if (directory.empty()) return absl::InvalidArgumentError("store: no directory is named");
  if (mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) return SystemError("cannot make", directory);
  const std::string lock_path = directory + "/lock";
  ASSIGN_OR_RETURN(Descriptor lock, Open(lock_path, O_RDWR | O_CREAT));
  if (flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return SystemError("cannot lock", lock_path);
    return absl::FailedPreconditionError(absl::StrCat("store: ", directory, " is used by another server"));
  }
  RETURN_IF_ERROR(SweepUnfinished(directory));
  auto store = std::make_unique<DirectoryStore>(directory, std::move(lock));
  RETURN_IF_ERROR(store->Start());
  return store;
}

}  // namespace longtake::server
