#include "server/grpc/peers.h"

#include <grpcpp/generic/generic_stub.h>

#include "common/status_macros.h"
#include "server/access/known_servers.h"
#include "server/grpc/call_context.h"
#include "server/grpc/tls.h"
#include "server/video/error.h"

namespace longtake::server {
namespace {

constexpr char kWatchMethod[] = "/longtake.v1.VideoService/WatchVideo";
// gRPC's limit for messages that are received is 4 MiB by default; ours has parts of at most `max_part_bytes`.
constexpr int kMaxReceiveBytes = 16 << 20;
// Channels to servers that are gone are kept until there are so many.
constexpr size_t kMaxChannels = 256;

// One watch that another server answers: its messages are passed on as they are. The next one is read when the client
// has taken the last one, so that the other server sees how fast the client reads. Deletes itself.
class PassedOnWatch : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
 public:
  PassedOnWatch(const std::shared_ptr<grpc::Channel>& channel, grpc::CallbackServerContext* context,
                std::shared_ptr<grpc::ClientContext> onward, const grpc::ByteBuffer& request,
                std::function<void()> on_done)
      : stub_(channel),
        context_(context),
        onward_(std::move(onward)),
        on_done_(std::move(on_done)),
        upstream_(this, request) {
    stub_.PrepareBidiStreamingCall(onward_.get(), kWatchMethod, {}, &upstream_);
    upstream_.Start();
  }

  void OnWriteDone(bool ok) override {
    if (!ok) onward_->TryCancel();  // then the next read fails soon, which leads to the end
    upstream_.ReadNext();
  }
  void OnCancel() override { onward_->TryCancel(); }
  void OnDone() override {
    const std::function<void()> on_done = on_done_;
    delete this;
    on_done();
  }

 private:
  class Upstream : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
   public:
    Upstream(PassedOnWatch* watch, const grpc::ByteBuffer& request) : watch_(watch), request_(request) {}
    void Start() {
      AddHold();  // reads are started from the client's side; the end waits until there is nothing more to read
      StartWriteLast(&request_, grpc::WriteOptions());
      StartRead(&message_);
      StartCall();
    }
    void ReadNext() { StartRead(&message_); }
    void OnReadDone(bool ok) override {
      if (!ok) return RemoveHold();
      watch_->StartWrite(&message_, grpc::WriteOptions().set_write_through());
    }
    // Behind the last read. Behind Finish the watch, and this, may be gone.
    void OnDone(const grpc::Status& status) override { watch_->Finish(PassedOn(status, watch_->context_)); }

   private:
    PassedOnWatch* const watch_;
    grpc::ByteBuffer request_, message_;
  };

  grpc::GenericStub stub_;
  grpc::CallbackServerContext* const context_;
  const std::shared_ptr<grpc::ClientContext> onward_;
  const std::function<void()> on_done_;
  Upstream upstream_;
};

// The caller that no token identifies; null: there is a token, or nobody is asked who they are.
const Identity* CallerWithoutToken(const grpc::CallbackServerContext& context) {
  const Identity* const caller = CallerOf(context);
  if (caller == nullptr || caller->tenant.id.empty()) return nullptr;
  return context.client_metadata().count("authorization") > 0 ? nullptr : caller;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Peers>> Peers::Open(const PeerOptions& options, const TlsOptions& own) {
  ASSIGN_OR_RETURN(std::shared_ptr<grpc::ChannelCredentials> credentials, MakePeerCredentials(options, own));
  return std::unique_ptr<Peers>(new Peers(std::move(credentials), !options.name.empty()));
}

std::optional<std::string> Peers::ServerOf(const absl::Status& error,
                                           const grpc::CallbackServerContext& context) const {
  if (error.ok() || context.client_metadata().count(kPassedOnKey) > 0) return std::nullopt;
  const ErrorDetails details = DetailsOf(error);
  if (details.reason != Reason::kOtherServer) return std::nullopt;
  if (!known_ && CallerWithoutToken(context) != nullptr) return std::nullopt;
  const auto server = details.metadata.find("server");
  if (server == details.metadata.end() || server->second.empty()) return std::nullopt;
  return server->second;
}

std::shared_ptr<grpc::Channel> Peers::ChannelTo(const std::string& address) {
  const MutexLock lock(mutex_);
  if (channels_.size() >= kMaxChannels && !channels_.contains(address)) channels_.clear();
  std::shared_ptr<grpc::Channel>& channel = channels_[address];
  if (channel == nullptr) {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(kMaxReceiveBytes);
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    channel = grpc::CreateCustomChannel(address, credentials_, arguments);
  }
  return channel;
}

std::shared_ptr<grpc::ClientContext> Peers::ContextFor(grpc::CallbackServerContext* context) {
  auto onward = std::make_shared<grpc::ClientContext>();
  onward->set_deadline(context->deadline());
  onward->AddMetadata(kPassedOnKey, "1");
  if (const Identity* caller = CallerWithoutToken(*context); caller != nullptr) {
    onward->AddMetadata(kCallerKey, EncodeCaller(*caller));
  }
  const auto [first, last] = context->client_metadata().equal_range("authorization");
  for (auto at = first; at != last; ++at) {
    onward->AddMetadata("authorization", std::string(at->second.data(), at->second.size()));
  }
  if (const CallRecord* record = RecordOf(context); record != nullptr) {
    onward->AddMetadata(kRequestIdKey, record->origin.request_id);
    if (!record->origin.trace.trace_id.empty()) {
      onward->AddMetadata(kTraceparentKey, ToTraceparent(record->origin.trace));
    }
  }
  return onward;
}

void Peers::CopyTrailers(const grpc::ClientContext& from, grpc::CallbackServerContext* to) {
  for (const auto& [key, value] : from.GetServerTrailingMetadata()) {
    // When to try again; gRPC's own are in the status.
    if (key == "grpc-retry-pushback-ms") {
      to->AddTrailingMetadata(std::string(key.data(), key.size()), std::string(value.data(), value.size()));
    }
  }
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* Peers::PassOnWatch(const std::string& address,
                                                               grpc::CallbackServerContext* context,
                                                               const grpc::ByteBuffer& request,
                                                               std::function<void()> on_done) {
  return new PassedOnWatch(ChannelTo(address), context, ContextFor(context), request, std::move(on_done));
}

}  // namespace longtake::server
