from django.apps import AppConfig


class RfnetServiceConfig(AppConfig):
    name = "rfnet_service"
    verbose_name = "RFNet"

    def ready(self) -> None:
        from annotation.assist import verdicts_come_from
        from rfnet_service.actions import verdicts_for_the_desk

        verdicts_come_from(verdicts_for_the_desk)
