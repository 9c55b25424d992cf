#include "server/access/viewing_links.h"

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "server/access/link_keys.h"
#include "server/access/watched_file.h"
#include "server/video/error.h"

namespace longtake::server {
namespace {

// A link is the base64url of: the version, when it expires in seconds since 1970 (8 bytes, the highest first), the
// signature, and the tenant's id.
constexpr char kVersion = 1;
constexpr size_t kTimeBytes = 8, kHeadBytes = 1 + kTimeBytes + LinkKeys::Signature().size();

// Where a request does not say how long: long enough to be read the next morning.
constexpr absl::Duration kUsual = absl::Hours(24);

std::string Bytes(uint64_t number) {
  std::string out;
  for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<char>(number >> shift));
  return out;
}

uint64_t NumberOf(absl::string_view bytes) {
  uint64_t number = 0;
  for (const char byte : bytes) number = number << 8 | static_cast<uint8_t>(byte);
  return number;
}

// What is signed. The tenant's length comes first, so that no other tenant and video give the same bytes.
std::string Message(absl::string_view time, absl::string_view tenant, absl::string_view video) {
  return absl::StrCat(absl::string_view(&kVersion, 1), time, Bytes(tenant.size()), tenant, video);
}

absl::Status NoSuchLink() {
  return MakeError(absl::StatusCode::kUnauthenticated, "the link does not hold", {.reason = Reason::kUnauthenticated});
}

}  // namespace

struct ViewingLinks::Impl {
  LinkOptions options;
  bool asks_callers = true;
  spdlog::logger* logger = nullptr;
  std::function<absl::Time()> now;
  std::unique_ptr<WatchedFile<LinkKeys>> keys;
};

ViewingLinks::ViewingLinks(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ViewingLinks::~ViewingLinks() = default;

absl::StatusOr<std::unique_ptr<ViewingLinks>> ViewingLinks::Open(const LinkOptions& options, bool asks_callers,
                                                                 const Clock* clock, spdlog::logger* logger,
                                                                 std::function<absl::Time()> now) {
  auto impl = std::make_unique<Impl>();
  impl->options = options;
  impl->asks_callers = asks_callers;
  impl->logger = logger;
  impl->now = std::move(now);
  if (!options.keys.empty()) {
    if (!asks_callers) {
      return absl::InvalidArgumentError(
          "link-keys: needs tokens, jwks or tls-client-ca, without which everybody may watch everything");
    }
    if (options.longest < absl::Seconds(1)) return absl::InvalidArgumentError("link-max-seconds: is below 1");
    const auto parse = [path = options.keys](const std::string& text) { return LinkKeys::Parse(path, text); };
    ASSIGN_OR_RETURN(impl->keys, WatchedFile<LinkKeys>::Open(options.keys, parse, clock, logger));
  }
  return std::unique_ptr<ViewingLinks>(new ViewingLinks(std::move(impl)));
}

absl::StatusOr<ViewingLinks::Link> ViewingLinks::Make(const Tenant& tenant, const std::string& video,
                                                      std::optional<absl::Duration> wanted) const {
  if (impl_->keys == nullptr) {
    return MakeError(
        absl::StatusCode::kFailedPrecondition,
        impl_->asks_callers
            ? "this server has no keys for viewing links: --link-keys"
            : "viewing links are not needed: this server does not ask callers who they are, so the video's "
              "own address is enough",
        {.reason = Reason::kLinksUnavailable, .resource = video});
  }
  const absl::Duration duration = wanted.value_or(std::min(kUsual, impl_->options.longest));
  if (duration < absl::Seconds(1) || duration > impl_->options.longest) {
    return InvalidRequest({{"duration", absl::StrCat(absl::ToDoubleSeconds(duration), " s is not within 1 ... ",
                                                     absl::ToInt64Seconds(impl_->options.longest), " s")}});
  }
  // Rounded up, so that a link of one second holds for one.
  const int64_t expires = absl::ToUnixSeconds(impl_->now() + duration + absl::Seconds(1) - absl::Nanoseconds(1));
  const std::string time = Bytes(static_cast<uint64_t>(expires));
  const LinkKeys::Signature signature = impl_->keys->Get()->Sign(Message(time, tenant.id, video));
  const std::string text = absl::WebSafeBase64Escape(
      absl::StrCat(absl::string_view(&kVersion, 1), time,
                   absl::string_view(reinterpret_cast<const char*>(signature.data()), signature.size()), tenant.id));
  impl_->logger->info("viewing link made name={} seconds={}", video, absl::ToInt64Seconds(duration));
  return Link{text, absl::FromUnixSeconds(expires)};
}

absl::StatusOr<ViewingGrant> ViewingLinks::Verify(const std::string& video, absl::string_view link) const {
  if (impl_->keys == nullptr) return NoSuchLink();
  std::string bytes;
  // Other spellings of the same bytes are no links: absl is lenient with padding and with the last digit's unused bits.
  if (!absl::WebSafeBase64Unescape(link, &bytes) || absl::WebSafeBase64Escape(bytes) != link) return NoSuchLink();
  if (bytes.size() < kHeadBytes || bytes[0] != kVersion) return NoSuchLink();
  const absl::string_view all = bytes;
  const absl::string_view time = all.substr(1, kTimeBytes), tenant = all.substr(kHeadBytes);
  LinkKeys::Signature signature;
  std::copy_n(all.begin() + 1 + kTimeBytes, signature.size(), signature.begin());
  if (!impl_->keys->Get()->Verify(Message(time, tenant, video), signature)) return NoSuchLink();
  const ViewingGrant grant{.tenant = {std::string(tenant)},
                           .expires = absl::FromUnixSeconds(static_cast<int64_t>(NumberOf(time)))};
  if (!Expired(grant)) return grant;
  return MakeError(absl::StatusCode::kPermissionDenied, "the link has expired",
                   {.reason = Reason::kLinkExpired, .resource = video});
}

absl::Time ViewingLinks::now() const { return impl_->now(); }

void ViewingLinks::OnUsed(const std::string& video) const { impl_->logger->info("viewing link used name={}", video); }

}  // namespace longtake::server
