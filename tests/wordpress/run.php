<?php
/**
 * Runs calls on WordPress's own code: reads a JSON list of them from standard input and writes one line of JSON for each.
 *
 * A call is {"client": method, "with": [arguments], "key", "base", "timeout", "home"}, or {"wp": function, "with": [url, args]}.
 * Nothing of WordPress is written anew here: its options, which live in a database, are answered by its own filters.
 */
error_reporting( E_ALL & ~E_DEPRECATED );
define( 'ABSPATH', getenv( 'WORDPRESS_DIR' ) . '/' );
define( 'WPINC', 'wp-includes' );

$files = array(
	'version', 'compat', 'load', 'plugin', 'class-wp-error', 'functions', 'formatting', 'kses', 'pomo/mo', 'l10n', 'general-template',
	'link-template', 'http', 'class-wp-http', 'class-wp-http-streams', 'class-wp-http-curl', 'class-wp-http-proxy',
	'class-wp-http-cookie', 'class-wp-http-encoding', 'class-wp-http-response', 'class-wp-http-requests-response',
	'class-wp-http-requests-hooks',
);
foreach ( $files as $file ) {
	require_once ABSPATH . WPINC . '/' . $file . '.php';
}

$home = 'https://garden.example.com';
foreach ( array( 'home', 'siteurl' ) as $option ) {
	add_filter( 'pre_option_' . $option, function () use ( &$home ) { return $home; } );
}
foreach ( array( 'blog_charset' => 'UTF-8', 'blogdescription' => '', 'blogname' => 'Garden' ) as $option => $value ) {
	add_filter( 'pre_option_' . $option, function () use ( $value ) { return $value; } );
}
require getenv( 'IGNY8_CLIENT' );

function told( $answer ) {
	return is_wp_error( $answer )
		? array( 'error' => $answer->get_error_code(), 'message' => $answer->get_error_message(), 'data' => $answer->get_error_data() )
		: array( 'data' => $answer );
}

foreach ( json_decode( stream_get_contents( STDIN ), true ) as $call ) {
	$home    = isset( $call['home'] ) ? $call['home'] : 'https://garden.example.com';
	$started = microtime( true );
	if ( isset( $call['client'] ) ) {
		$client = new Igny8_Client( $call['base'], $call['key'], $call['timeout'] );
		$told   = told( call_user_func_array( array( $client, $call['client'] ), $call['with'] ) );
	} else {
		$answer = call_user_func_array( $call['wp'], $call['with'] );
		$told   = is_wp_error( $answer ) ? told( $answer ) : array(
			'status'   => wp_remote_retrieve_response_code( $answer ),
			'body'     => json_decode( wp_remote_retrieve_body( $answer ), true ),
			'retry'    => wp_remote_retrieve_header( $answer, 'retry-after' ),
			'replayed' => wp_remote_retrieve_header( $answer, 'idempotent-replayed' ),
		);
	}
	$told['seconds'] = microtime( true ) - $started;
	echo json_encode( $told ), "\n";
}
