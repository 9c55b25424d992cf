// A file that is read again when it has changed.
#ifndef LONGTAKE_SERVER_ACCESS_WATCHED_FILE_H_
#define LONGTAKE_SERVER_ACCESS_WATCHED_FILE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "common/status_macros.h"
#include "spdlog/logger.h"

namespace longtake::server {

// What tells one content of a file from another without reading it.
struct FileStamp {
  int64_t modified_ns = 0, size = 0;
  uint64_t inode = 0;
  friend bool operator==(const FileStamp&, const FileStamp&) = default;
};

// Nothing: there is no such file.
std::optional<FileStamp> StampOf(const std::string& path);
// NotFound and others say why the file cannot be read.
absl::StatusOr<std::string> ReadFile(const std::string& path);

// Thread-safe. Looks at most once a second whether the file is another one, when it is asked for its content.
template <typename T>
class WatchedFile {
 public:
  // An error names what is wrong in the text. It must not quote the text, which may be secret.
  using Parse = std::function<absl::StatusOr<T>(const std::string& text)>;

  // The error of the first reading, or of `parse`. `clock` and `logger` outlive it.
  static absl::StatusOr<std::unique_ptr<WatchedFile>> Open(std::string path, Parse parse, const Clock* clock,
                                                           spdlog::logger* logger) {
    std::unique_ptr<WatchedFile> file(new WatchedFile(std::move(path), std::move(parse), clock, logger));
    const MutexLock lock(file->mutex_);
    RETURN_IF_ERROR(file->Read());
    return file;
  }

  // The newest content that was right.
  std::shared_ptr<const T> Get() {
    const MutexLock lock(mutex_);
    const absl::Duration now = clock_->Now();
    if (now - looked_ < absl::Seconds(1)) return content_;
    if (StampOf(path_) == stamp_) {
      looked_ = now;
    } else if (const absl::Status status = Read(); status.ok()) {
      logger_->info("read again file={}", path_);
    } else {
      logger_->error("the file is wrong, what it said before stays in force: {}", std::string(status.message()));
    }
    return content_;
  }

 private:
  WatchedFile(std::string path, Parse parse, const Clock* clock, spdlog::logger* logger)
      : path_(std::move(path)), parse_(std::move(parse)), clock_(clock), logger_(logger) {}

  absl::Status Read() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    looked_ = clock_->Now();
    stamp_ = StampOf(path_);  // before the reading: what changes in between is seen the next time
    ASSIGN_OR_RETURN(const std::string text, ReadFile(path_));
    ASSIGN_OR_RETURN(T parsed, parse_(text));
    content_ = std::make_shared<const T>(std::move(parsed));
    return absl::OkStatus();
  }

  const std::string path_;
  const Parse parse_;
  const Clock* const clock_;
  spdlog::logger* const logger_;
  Mutex mutex_;
  std::shared_ptr<const T> content_ ABSL_GUARDED_BY(mutex_);
  std::optional<FileStamp> stamp_ ABSL_GUARDED_BY(mutex_);
  absl::Duration looked_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_ACCESS_WATCHED_FILE_H_
