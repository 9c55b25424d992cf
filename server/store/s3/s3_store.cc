#include "server/store/s3/s3_store.h"

#include <algorithm>
#include <atomic>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/status_macros.h"
#include "server/store/names.h"
#include "server/store/s3/client.h"
#include "server/store/s3/folders.h"
#include "server/store/s3/manifest.h"
#include "server/store/s3/opening.h"
#include "server/store/s3/ordered_jobs.h"
#include "server/telemetry/log_format.h"
#include "spdlog/logger.h"

namespace longtake::server {
namespace {

// So many folders are written at once. A Put is two requests behind each other. If each took 30 ms, which is an
// assumption, these would store a hundred blocks a second.
constexpr int kThreads = 8;
// Between a manifest that is read and the object that it names a file may be replaced, and again.
constexpr int kMostReads = 5;

std::string FolderOf(const std::string& name) {
  const size_t slash = name.rfind('/');
  return slash == std::string::npos ? "" : name.substr(0, slash);
}
std::string FileOf(const std::string& name) { return name.substr(name.rfind('/') + 1); }

std::string ObjectKey(const std::string& folder, const std::string& object) {
  return absl::StrCat("objects/", folder, "/", object);
}

class S3Store : public Store {
 public:
  S3Store(std::unique_ptr<S3Client> client, Sharing sharing, uint64_t epoch, spdlog::logger* logger)
      : client_(std::move(client)),
        sharing_(sharing),
        epoch_(epoch),
        logger_(logger),
        folders_(client_.get(), /*reads_memory=*/sharing == Sharing::kAlone),
        objects_(NewRevision()) {}

  absl::Status Start() {
    RETURN_IF_ERROR(jobs_.Start(kThreads));
    // Before anything else that changes the store.
    jobs_.Post("", [this] {
      const absl::Status swept = SweepObjects(*client_);
      if (!swept.ok()) {
        logger_->warn("what removed videos have left in the store stays until the next start error={}",
                      LogValue(swept.message()));
      }
    });
    return absl::OkStatus();
  }

  void Fence(const std::string& folder, uint64_t token, Done done) override {
    jobs_.Post(folder, [this, folder, token, done = std::move(done)] { done(FenceNow(folder, token)); });
  }

  void Put(std::vector<StoredFile> files, uint64_t token, Done done) override {
    std::string path = files.empty() ? "" : FolderOf(files.front().name);
    for (const StoredFile& file : files) {
      if (FolderOf(file.name) != path) path = "";  // above all
    }
    // shared_ptr: std::function copies what it holds.
    auto shared = std::make_shared<std::vector<StoredFile>>(std::move(files));
    jobs_.Post(std::move(path), [this, shared, token, done = std::move(done)] {
      std::vector<std::string> replaced;
      done(PutNow(std::move(*shared), token, replaced));
      RemoveReplaced(replaced);
    });
  }

  void Remove(const std::string& name, uint64_t token, Done done) override {
    jobs_.Post(name, [this, name, token, done = std::move(done)] { done(RemoveNow(name, token)); });
  }

  void AwaitIdle() override { jobs_.AwaitIdle(); }

  absl::StatusOr<std::string> Get(const std::string& name) const override;
  absl::StatusOr<std::vector<std::string>> List(const std::string& folder) const override;

 private:
  absl::Status FenceNow(const std::string& folder, uint64_t token);
  // `replaced`: keys of objects in which nothing is any more.
  absl::Status PutNow(std::vector<StoredFile> files, uint64_t token, std::vector<std::string>& replaced);
  absl::Status PutInto(const std::string& folder, std::vector<StoredFile> files, uint64_t token,
                       std::vector<std::string>& replaced);
  absl::Status RemoveNow(const std::string& name, uint64_t token);
  // `token`: nothing: whoever may write the folder.
  absl::Status RemoveFile(const std::string& name, std::optional<uint64_t> token);
  absl::Status RemoveFolder(const std::string& folder);
  // The next server does what fails here, when the folder is removed.
  void RemoveReplaced(const std::vector<std::string>& keys) const {
    for (const std::string& key : keys) client_->Delete(key).IgnoreError();
  }

  absl::Status Fenced(const std::string& folder) const {
    return absl::AbortedError(
        absl::StrCat("store: ", client_->NameOf(folder), ": another server writes it now, or it was removed"));
  }
  // Whether the writer of this token may change the folder. Without a token it may make it, and takes it over from a
  // server that had the store before.
  absl::Status MayWrite(const Manifest* now, const std::string& folder, uint64_t token) const {
    const WriterRank rank{epoch_, token};
    const bool may = token == 0 ? now == nullptr || now->writer <= rank : now != nullptr && now->writer == rank;
    return may ? absl::OkStatus() : Fenced(folder);
  }

  const std::unique_ptr<S3Client> client_;
  const Sharing sharing_;
  const uint64_t epoch_;
  spdlog::logger* const logger_;
  Folders folders_;
  const std::string objects_;  // begins the names of this process' objects
  std::atomic<uint64_t> next_ = 0;
  OrderedJobs jobs_;  // last: they use the above
};

// The keys of those of `files` in which nothing of `next` is.
std::vector<std::string> Replaced(const std::string& folder, const Manifest& now, const Manifest& next) {
  std::set<std::string> gone;
  for (const auto& [name, place] : now.files) gone.insert(place.object);
  for (const auto& [name, place] : next.files) gone.erase(place.object);
  gone.erase("");
  std::vector<std::string> keys;
  for (const std::string& object : gone) keys.push_back(ObjectKey(folder, object));
  return keys;
}

absl::Status S3Store::FenceNow(const std::string& folder, uint64_t token) {
  RETURN_IF_ERROR(CheckName(folder));
  const WriterRank rank{epoch_, token};
  return folders_.Apply(folder, [&](const Manifest* now) -> absl::StatusOr<std::optional<Manifest>> {
    if (now != nullptr && now->writer > rank) return Fenced(folder);
    if (now != nullptr && now->writer == rank) return std::nullopt;
    Manifest next = now == nullptr ? Manifest() : *now;
    next.writer = rank;
    return next;
  });
}

absl::Status S3Store::PutNow(std::vector<StoredFile> files, uint64_t token, std::vector<std::string>& replaced) {
  if (sharing_ == Sharing::kShared && token == 0) {
    return absl::InvalidArgumentError("store: who writes into a shared store needs a token");
  }
  for (const StoredFile& file : files) RETURN_IF_ERROR(CheckName(file.name));
  // Those in a row that are of one folder.
  for (auto first = files.begin(); first != files.end();) {
    const std::string folder = FolderOf(first->name);
    const auto end =
        std::find_if(first, files.end(), [&](const StoredFile& file) { return FolderOf(file.name) != folder; });
    RETURN_IF_ERROR(PutInto(folder, {std::make_move_iterator(first), std::make_move_iterator(end)}, token, replaced));
    first = end;
  }
  return absl::OkStatus();
}

absl::Status S3Store::PutInto(const std::string& folder, std::vector<StoredFile> files, uint64_t token,
                              std::vector<std::string>& replaced) {
  const std::string object = absl::StrCat(objects_, "-", ++next_);
  std::map<std::string, Manifest::Place> places;
  std::string bytes;
  for (StoredFile& file : files) {
    const auto size = static_cast<int64_t>(file.bytes.size());
    places[FileOf(file.name)] = {size == 0 ? "" : object, static_cast<int64_t>(bytes.size()), size};
    if (bytes.empty()) {
      bytes = std::move(file.bytes);  // one alone may be a checkpoint of hundreds of megabytes
    } else {
      bytes += file.bytes;
    }
  }
  if (!bytes.empty()) RETURN_IF_ERROR(client_->Put(ObjectKey(folder, object), bytes, {}).status());
  // Where this fails, the object stays until the folder is removed: a try whose answer was lost may have put it into
  // the manifest, from which the next writer has made its own.
  std::vector<std::string> gone;
  RETURN_IF_ERROR(folders_.Apply(folder, [&](const Manifest* now) -> absl::StatusOr<std::optional<Manifest>> {
    RETURN_IF_ERROR(MayWrite(now, folder, token));
    Manifest next = now == nullptr ? Manifest() : *now;
    next.writer = {epoch_, token};
    for (const auto& [name, place] : places) next.files[name] = place;
    gone = now == nullptr ? std::vector<std::string>() : Replaced(folder, *now, next);
    return next;
  }));
  replaced.insert(replaced.end(), gone.begin(), gone.end());
  return absl::OkStatus();
}

absl::Status S3Store::RemoveNow(const std::string& name, uint64_t token) {
  RETURN_IF_ERROR(CheckName(name));
  if (token != 0) return RemoveFile(name, token);
  ASSIGN_OR_RETURN(const std::shared_ptr<const Manifest> folder, folders_.Read(name, /*newest=*/true));
  if (folder != nullptr) return RemoveFolder(name);
  ASSIGN_OR_RETURN(const std::shared_ptr<const Manifest> above, folders_.Read(FolderOf(name), /*newest=*/true));
  if (above != nullptr && above->files.contains(FileOf(name))) return RemoveFile(name, std::nullopt);
  ASSIGN_OR_RETURN(const std::vector<std::string> below, client_->List(Folders::KeyOf(name + "/"), /*deep=*/true));
  for (const std::string& each : below) RETURN_IF_ERROR(RemoveFolder(absl::StrCat(name, "/", each)));
  return absl::OkStatus();
}

absl::Status S3Store::RemoveFile(const std::string& name, std::optional<uint64_t> token) {
  const std::string folder = FolderOf(name), file = FileOf(name);
  std::vector<std::string> gone;
  RETURN_IF_ERROR(folders_.Apply(folder, [&](const Manifest* now) -> absl::StatusOr<std::optional<Manifest>> {
    gone.clear();
    if (token.has_value()) RETURN_IF_ERROR(MayWrite(now, folder, *token));
    if (now == nullptr || !now->files.contains(file)) return std::nullopt;
    Manifest next = *now;
    next.files.erase(file);
    gone = Replaced(folder, *now, next);
    return next;
  }));
  RemoveReplaced(gone);
  return absl::OkStatus();
}

// First it loses its manifest, at once and for good.
absl::Status S3Store::RemoveFolder(const std::string& folder) {
  RETURN_IF_ERROR(folders_.Drop(folder));
  return RemoveObjects(*client_, ObjectKey(folder, ""));
}

absl::StatusOr<std::string> S3Store::Get(const std::string& name) const {
  RETURN_IF_ERROR(CheckName(name));
  const std::string folder = FolderOf(name), file = FileOf(name);
  absl::Status failed;
  for (int i = 0; i < kMostReads; ++i) {
    ASSIGN_OR_RETURN(const std::shared_ptr<const Manifest> manifest, folders_.Read(folder, /*newest=*/i > 0));
    if (manifest == nullptr || !manifest->files.contains(file)) {
      return absl::NotFoundError(absl::StrCat("store: ", client_->NameOf(name), ": there is no such file"));
    }
    const Manifest::Place& place = manifest->files.at(file);
    if (place.size == 0) return std::string();
    absl::StatusOr<S3Client::Object> object =
        client_->Get(ObjectKey(folder, place.object), S3Client::Range{place.offset, place.size});
    if (object.ok()) return std::move(object->bytes);
    failed = object.status();
    if (!absl::IsNotFound(failed)) return failed;
  }
  return absl::DataLossError(failed.message());
}

absl::StatusOr<std::vector<std::string>> S3Store::List(const std::string& folder) const {
  RETURN_IF_ERROR(CheckName(folder));
  ASSIGN_OR_RETURN(const std::shared_ptr<const Manifest> manifest, folders_.Read(folder));
  std::vector<std::string> names;
  if (manifest == nullptr) {
    ASSIGN_OR_RETURN(const std::vector<std::string> below, client_->List(Folders::KeyOf(folder + "/"), /*deep=*/false));
    for (const std::string& name : below) names.emplace_back(absl::StripSuffix(name, "/"));
    return names;
  }
  for (const auto& [name, place] : manifest->files) names.push_back(name);
  return names;
}

absl::StatusOr<AwsCredentials> CredentialsOf(const S3Options& options) {
  if (!options.credentials_file.empty()) {
    absl::StatusOr<AwsCredentials> read = ReadCredentials(options.credentials_file);
    if (read.ok()) return read;
    return absl::Status(read.status().code(), absl::StrCat("store-credentials-file: ", read.status().message()));
  }
  if (!options.credentials.key_id.empty() && !options.credentials.secret.empty()) return options.credentials;
  return absl::InvalidArgumentError(
      "store: a bucket needs keys: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment, or "
      "store-credentials-file");
}

}  // namespace

absl::Status CheckS3Options(const std::string& url, const S3Options& options) {
  RETURN_IF_ERROR(ParseS3Address(url, options.endpoint, options.region).status());
  return CredentialsOf(options).status();
}

absl::StatusOr<std::unique_ptr<Store>> OpenS3Store(const std::string& url, Sharing sharing, const S3Options& options,
                                                   spdlog::logger* logger) {
  ASSIGN_OR_RETURN(S3Address address, ParseS3Address(url, options.endpoint, options.region));
  ASSIGN_OR_RETURN(AwsCredentials credentials, CredentialsOf(options));
  auto client = std::make_unique<S3Client>(std::move(address), options, std::move(credentials), logger);
  RETURN_IF_ERROR(CheckConditions(*client));
  ASSIGN_OR_RETURN(const uint64_t epoch, TakeEpoch(*client, sharing));
  auto store = std::make_unique<S3Store>(std::move(client), sharing, epoch, logger);
  RETURN_IF_ERROR(store->Start());
  return store;
}

}  // namespace longtake::server
