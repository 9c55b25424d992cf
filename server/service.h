// The RPCs of longtake.v1.
#ifndef LONGTAKE_SERVER_SERVICE_H_
#define LONGTAKE_SERVER_SERVICE_H_

#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <memory>
#include <mutex>

#include "absl/base/thread_annotations.h"
#include "longtake/v1/longtake.grpc.pb.h"
#include "server/metrics.h"
#include "server/studio.h"

namespace longtake::server {

class Service : public v1::LongtakeService::CallbackService {
 public:
  explicit Service(Metrics* metrics) : metrics_(metrics) {}

  // From here on requests are accepted; before, they are refused as UNAVAILABLE.
  void SetStudio(std::shared_ptr<Studio> studio);
  std::shared_ptr<Studio> studio() const;

  // Waits until no Generate call is left, at most `limit`. True if so.
  bool AwaitNoCalls(absl::Duration limit);

  grpc::ServerWriteReactor<v1::GenerateEvent>* Generate(grpc::CallbackServerContext* context,
                                                        const v1::GenerateRequest* request) override;
  grpc::ServerUnaryReactor* Quote(grpc::CallbackServerContext* context, const v1::GenerateRequest* request,
                                  v1::Quote* response) override;
  grpc::ServerUnaryReactor* ChangePrompt(grpc::CallbackServerContext* context, const v1::ChangePromptRequest* request,
                                         v1::ChangePromptResponse* response) override;
  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context, const v1::ListModelsRequest* request,
                                       v1::ListModelsResponse* response) override;

 private:
  Metrics* const metrics_;
  mutable std::mutex mutex_;
  std::condition_variable call_ended_;
  std::shared_ptr<Studio> studio_ ABSL_GUARDED_BY(mutex_);
  int calls_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_SERVICE_H_
