// A client's call that is read without a thread of its own.
#ifndef LONGTAKE_BENCH_FRONT_READER_H_
#define LONGTAKE_BENCH_FRONT_READER_H_

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <functional>
#include <future>
#include <memory>
#include <string>
#include <utility>

namespace longtake::bench {

// A connection of its own.
inline std::shared_ptr<grpc::Channel> Connect(int port) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetMaxReceiveMessageSize(64 << 20);
  return grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(port), grpc::InsecureChannelCredentials(), arguments);
}

// One call of a method that streams its answer. Messages are not parsed, so that the client costs little.
class Reader : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  // Begins the call. `on_message` comes for each message, one at a time.
  Reader(const std::shared_ptr<grpc::Channel>& channel, const std::string& method, const std::string& request,
         std::function<void(grpc::ByteBuffer&)> on_message)
      : stub_(channel), on_message_(std::move(on_message)) {
    const grpc::Slice slice(request);
    request_ = grpc::ByteBuffer(&slice, 1);
    stub_.PrepareBidiStreamingCall(&context_, "/longtake.v1.VideoService/" + method, {}, this);
    StartWriteLast(&request_, {});
    StartRead(&message_);
    StartCall();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    on_message_(message_);
    message_.Clear();
    StartRead(&message_);
  }
  void OnDone(const grpc::Status& status) override { done_.set_value(status); }

  void Cancel() { context_.TryCancel(); }
  // Once; before the destructor.
  grpc::Status AwaitDone() { return done_.get_future().get(); }

 private:
  grpc::GenericStub stub_;
  grpc::ClientContext context_;
  const std::function<void(grpc::ByteBuffer&)> on_message_;
  grpc::ByteBuffer request_, message_;
  std::promise<grpc::Status> done_;
};

}  // namespace longtake::bench

#endif  // LONGTAKE_BENCH_FRONT_READER_H_
