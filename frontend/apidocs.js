// The documentation of the API: <div id="apidocs" data-openapi="/api/v1/openapi.json"></div>
// Swagger UI sets styles through the object model only, so it runs under a policy without 'unsafe-inline'.
import SwaggerUI from "swagger-ui-dist/swagger-ui-es-bundle.js";

const place = document.getElementById("apidocs");

function cookie(name) {
    const found = document.cookie.split("; ").find((part) => part.startsWith(`${name}=`));
    return found ? decodeURIComponent(found.slice(name.length + 1)) : "";
}

SwaggerUI({
    domNode: place,
    url: place.dataset.openapi,
    deepLinking: true,
    docExpansion: "list",
    filter: true,
    defaultModelsExpandDepth: 0,
    validatorUrl: null, // otherwise a badge is fetched from the network
    persistAuthorization: false,
    requestInterceptor: (request) => {
        const token = cookie("csrftoken");
        if (token && new URL(request.url, location.href).origin === location.origin) request.headers["X-CSRFToken"] = token;
        return request;
    },
});
