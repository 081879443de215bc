from django.apps import AppConfig


class RfnetServiceConfig(AppConfig):
    name = "rfnet_service"
    verbose_name = "RFNet"
