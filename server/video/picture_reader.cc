#include "server/video/picture_reader.h"

#include <memory>
#include <utility>

#include "absl/time/time.h"
#include "common/exception_status.h"
#include "server/image/image.h"
#include "server/video/error.h"

namespace longtake::server {
namespace {

// Four pictures of the default's 16 megapixels take about as long.
constexpr absl::Duration kRetry = absl::Seconds(1);

absl::Status Busy(const char* why) {
  return MakeError(absl::StatusCode::kResourceExhausted, why, {.reason = Reason::kQueueFull, .retry_delay = kRetry});
}

absl::StatusOr<std::string> ToPngOfSize(const std::string& file, int64_t max_pixels, Size size) {
  absl::StatusOr<std::string> png;
  try {
    const absl::StatusOr<Picture> picture = ReadPicture(file, max_pixels, size.width, size.height);
    png = picture.ok() ? ToPng(*picture) : picture.status();
  } catch (const std::exception&) {
    png = StatusOfCurrentException();
  }
  if (absl::IsResourceExhausted(png.status())) return Busy("there is no memory for the first image at the moment");
  if (!png.ok()) return InvalidRequest({{"spec.first_image", std::string(png.status().message())}});
  return png;
}

}  // namespace

void PictureReader::Read(std::string file, Size size, std::function<void(absl::StatusOr<std::string>)> done) {
  const auto bytes = static_cast<int64_t>(file.size());
  bool full = false;
  {
    const MutexLock lock(mutex_);
    // One that is alone is taken: a fork's picture is as large as its video had it.
    full = bytes_ > 0 && bytes_ + bytes > kWaiting * limits_.max_first_image_bytes;
    if (!full) bytes_ += bytes;
  }
  if (full) return done(Busy("as many first images wait to be read as may"));
  // std::function copies what it holds.
  pool_.Post([this, size, bytes, file = std::make_shared<const std::string>(std::move(file)), done = std::move(done)] {
    absl::StatusOr<std::string> png = ToPngOfSize(*file, limits_.max_first_image_pixels, size);
    {
      const MutexLock lock(mutex_);
      bytes_ -= bytes;
    }
    done(std::move(png));
  });
}

}  // namespace longtake::server
