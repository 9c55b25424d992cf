// gRPC's contexts of calls, with what the log says of each.
#ifndef LONGTAKE_SERVER_GRPC_CALL_CONTEXT_H_
#define LONGTAKE_SERVER_GRPC_CALL_CONTEXT_H_

#include <grpcpp/grpcpp.h>

#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "common/mutex.h"
#include "server/access/access.h"
#include "server/grpc/connections.h"
#include "server/telemetry/call_log.h"

namespace longtake::server {

// The call's record; null of a context that CallContexts has not made, as in tests. Whoever uses it must know that the
// call has not finished.
CallRecord* RecordOf(grpc::CallbackServerContext* context);

// A call has reached one of our services: it gets its id and its place in a trace, and answers the id. Null as above.
CallRecord* BeginCall(grpc::CallbackServerContext* context);

// Who is calling, once Door has found out; null before, and as above.
const Identity* CallerOf(const grpc::CallbackServerContext& context);
void SetCaller(grpc::CallbackServerContext* context, const Identity& caller);

// Notes which video the call is about: what has not the form of a name is none.
void SetVideo(grpc::CallbackServerContext* context, const std::string& name);

// Makes a context when a call comes. When gRPC is done with the call its line is logged, unless it was none of our
// services': those note who is asking.
class CallContexts : public grpc::ContextAllocator {
 public:
  // `log` outlives it.
  explicit CallContexts(const CallLog* log) : log_(log) {}
  ~CallContexts() override;

  grpc::CallbackServerContext* NewCallbackServerContext() override;
  void Release(grpc::CallbackServerContext* context) override;
  using grpc::ContextAllocator::Release;

  // Tells each call's context its method, which gRPC tells interceptors alone, and its connection that a call has
  // begun. Intercepts nothing. `connections` outlives all calls' beginnings.
  static std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> Teller(Connections* connections);

 private:
  const CallLog* const log_;
  Mutex mutex_;
  // All there are. gRPC releases none whose call was cut before it reached a service.
  std::map<grpc::CallbackServerContext*, std::unique_ptr<grpc::CallbackServerContext>> contexts_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_GRPC_CALL_CONTEXT_H_
